"""Who can write to the broker can make the workers do nothing that was not decided in the database (S125)."""

import base64
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.core.ids import new_id
from tests.integration.workers.conftest import Ground, eventually
from tests.integration.workers.jobs import Count


@pytest.fixture(scope="module", autouse=True)
def worker(ground: Ground) -> None:
    ground.start_worker()


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.file,)


def put(ground: Ground, task: str, body: bytes, content_type: str, encoding: str = "utf-8") -> None:
    """Put a message into a lane, as kombu and Celery (protocol 2) would, whatever it holds."""
    id_ = new_id()
    told = {"lang": "py", "task": task, "id": id_, "root_id": id_, "parent_id": None, "argsrepr": "", "kwargsrepr": ""}
    properties = {
        "correlation_id": id_,
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": "default"},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": id_,
    }
    message = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": encoding,
        "content-type": content_type,
        "headers": told,
        "properties": properties,
    }
    with ground.client as client:
        client.lpush("default", json.dumps(message))


def call(*arguments: object) -> bytes:
    return json.dumps([arguments, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]).encode()


def is_taken(ground: Ground) -> None:
    """Wait until the lane is empty, and the worker has done what came after it: it lives."""
    with ground.client as client:
        eventually(lambda: client.llen("default") == 0, 15)
    label = f"effect {new_id()}"
    ground.are_done(ground.enqueue(Count(label=label)), 15)
    assert ground.counted([label]) == 1


@pytest.mark.parametrize("content_type", ["application/x-python-serialize", "pickle", "application/json"])
def test_s125_pickle_is_not_opened(ground: Ground, tmp_path: Path, content_type: str) -> None:
    mark = tmp_path / "it ran"
    evil = pickle.dumps(((Touch(mark),), {}, {}))
    pickle.loads(evil)  # it does what it should, where somebody opens it
    assert mark.exists()
    mark.unlink()
    put(ground, "worker.sign_of_life", evil, content_type, "binary")
    is_taken(ground)
    assert not mark.exists()


@pytest.mark.parametrize("content_type", ["application/x-yaml", "application/x-msgpack", "text/plain"])
def test_s125_nothing_but_json_is_read(ground: Ground, content_type: str) -> None:
    (row,) = ground.lose(Count(label=f"effect {new_id()}"))
    put(ground, ground.rows([row])[0].name, call(row), content_type)
    is_taken(ground)
    assert ground.states([row]) != {"done"}
    put(ground, ground.rows([row])[0].name, call(row), "application/json")  # and so it would have run
    ground.are_done([row], 15)


@pytest.mark.parametrize(
    "task", ["os.system", "celery.backend_cleanup", "celery.chord_unlock", "workers.task.run_job", "nobody.knows_this"]
)
def test_s125_a_task_that_is_none_of_ours_does_nothing(ground: Ground, tmp_path: Path, task: str) -> None:
    mark = tmp_path / "it ran"
    put(ground, task, call(f"touch '{mark}'"), "application/json")
    is_taken(ground)
    assert not mark.exists()


def test_s125_a_message_names_a_row_and_the_row_decides_what_is_done(ground: Ground) -> None:
    mine, theirs = f"effect {new_id()}", f"effect {new_id()}"
    (row,) = ground.enqueue(Count(label=mine))
    ground.are_done([row], 15)
    name = ground.rows([row])[0].name
    for arguments in ([new_id()], ["' OR 1=1 --"], [{"label": theirs}], [row, theirs], [], [None], [row]):
        put(ground, name, call(*arguments), "application/json")
    (pending,) = ground.lose(Count(label=theirs))
    put(ground, "livekit.delete_room", call(pending), "application/json")  # the row of another kind of job
    is_taken(ground)
    assert [(one.state, one.attempts) for one in ground.rows([pending])] == [("pending", 0)]
    assert ground.counted([theirs]) == 0
    assert (ground.counted([mine]), {one.attempts for one in ground.rows([row])}) == (1, {1})
