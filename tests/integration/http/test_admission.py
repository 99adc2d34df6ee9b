"""Admission over HTTP: what is answered while all slots are taken, and to whom (contract 1, P13, F16)."""

import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
from flask import Blueprint, Flask, abort, request
from prometheus_client import REGISTRY

from shared.core.ids import new_id
from tests.factories.world import Answer, World
from tests.integration.http.answers import check_failure, check_success
from web.http import admission, door
from web.http.admission import UNGATED, Gate

LONG = 30.0
SLOTS = 4


class Hall:
    """An application with doors behind which one stays: `POST /meetings/{id}/stay`, until `end`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.gate: Gate = world.app.extensions["parley-gate"]
        self._end = threading.Event()
        self._here = threading.Semaphore(0)
        self._guests: list[threading.Thread] = []
        self.answers: list[Answer] = []
        world.app.register_blueprint(self._doors())

    def _doors(self) -> Blueprint:
        doors = Blueprint("hall", __name__, url_prefix="/api/v1")

        def stay(meeting_id: str | None = None) -> tuple[str, int]:
            self._here.release()
            assert self._end.wait(LONG)
            return "gone", int(request.args.get("status", 200))

        def fall() -> str:
            raise RuntimeError("a bug")

        doors.post("/meetings/<meeting_id>/stay")(stay)
        doors.post("/stay")(stay)
        doors.post("/fall")(fall)
        doors.post("/forbidden")(lambda: abort(403))
        return doors

    def fill(self, number: int, path: str) -> None:
        """Have requests in, so many more, that stay there."""
        for _ in range(number):
            self.send(path)
        for _ in range(number):
            assert self._here.acquire(timeout=LONG)

    def send(self, path: str) -> None:
        """Send a request, and do not wait for its answer."""
        guest = threading.Thread(target=lambda: self.answers.append(self.world.nobody().post(path)), daemon=True)
        self._guests.append(guest)
        guest.start()

    def end(self) -> None:
        """Let all who are in go, and wait for their answers."""
        self._end.set()
        for guest in self._guests:
            guest.join(LONG)


@pytest.fixture
def hall(make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hall]:
    """A hall of few slots, where nobody waits for long, not even in a line that is young."""
    monkeypatch.setattr(admission, "CROWD_SECONDS", 0.0)
    made = Hall(make_world(http_max_in_flight=SLOTS))
    made.gate.patience = 0.05
    yield made
    made.end()
    assert (made.gate._free, dict(made.gate._in), list(made.gate._line)) == (SLOTS, {}, [])


def refused(why: str) -> float:
    return REGISTRY.get_sample_value("parley_requests_refused_total", {"why": why}) or 0.0


def check_refusal(answer: Answer) -> None:
    check_failure(answer, 503, "SERVICE_UNAVAILABLE")
    assert answer.headers["Retry-After"] == "1"


def test_p13_more_than_there_is_room_for_is_503_and_told_when_to_come_back(hall: Hall) -> None:
    person = hall.world.person()
    hall.fill(SLOTS, "/stay")
    before = refused("patience")
    check_refusal(person.get("/meetings"))
    check_refusal(hall.world.nobody().get("/meetings"))  # before anybody asks who it is
    check_refusal(person.post("/meetings", {"title": "A"}))
    assert refused("patience") == before + 3
    hall.end()
    assert check_success(person.get("/meetings"), is_list=True) == []


def test_p13_a_line_that_is_full_is_503_at_once(make_world: Callable[..., World]) -> None:
    hall = Hall(make_world(http_max_in_flight=1, http_max_waiting=0))
    hall.gate.patience = LONG
    hall.fill(1, "/stay")
    before = refused("line")
    check_refusal(hall.world.nobody().get("/meetings"))
    assert refused("line") == before + 1
    hall.end()


def test_p13_who_waits_is_served_when_a_slot_is_free(hall: Hall) -> None:
    hall.gate.patience = LONG
    hall.fill(SLOTS, "/stay")
    hall.send("/auth/logout")
    while not hall.gate._line:
        threading.Event().wait(0.001)
    assert REGISTRY.get_sample_value("parley_requests_waiting") == 1
    hall.end()
    assert sorted(answer.status for answer in hall.answers) == [200] * SLOTS + [401]
    assert REGISTRY.get_sample_value("parley_requests_waiting") == 0


def test_p13_health_metrics_documents_and_preflights_are_answered_meanwhile(hall: Hall) -> None:
    hall.fill(SLOTS, "/stay")
    client = hall.world.app.test_client()
    for path in ("/healthz", "/metrics", "/api/v1/openapi.json", "/api/v1/asyncapi.json", "/api/v1/docs"):
        assert client.get(path).status_code == 200, path
    assert client.get("/").status_code == 302
    assert client.get("/readyz").get_json()["message"] in ("Ready.", "Not ready: worker does not answer.")
    assert client.options("/api/v1/meetings").status_code == 200
    assert client.get("/api/v1/nowhere").status_code == 404
    assert client.get(f"/ws/meetings/{new_id()}").status_code == 400  # its own hook spoke


def test_f16_a_meeting_whose_requests_all_hang_holds_up_no_other_one(hall: Hall) -> None:
    host = hall.world.person()
    stuck, other = hall.world.meeting(host), hall.world.meeting(host)
    hall.fill(SLOTS // 2, f"/meetings/{stuck}/stay")
    check_refusal(host.get(f"/meetings/{stuck}"))
    assert host.get(f"/meetings/{other}").status == 200
    hall.fill(SLOTS // 2 - 1, f"/meetings/{other}/stay")
    assert host.get("/meetings").status == 200


def test_p13_who_joins_with_others_needs_no_slot_and_who_cannot_does(hall: Hall) -> None:
    host, people = hall.world.person(), [hall.world.person() for _ in range(3)]
    open_, closed = hall.world.meeting(host), hall.world.meeting(host, policy={"require_waiting_room": True})
    hall.fill(SLOTS, "/stay")
    check_success(people[0].post(f"/meetings/{open_}/join"))
    check_refusal(people[1].post(f"/meetings/{closed}/join"))
    check_success(people[2].post(f"/meetings/{open_}/join", headers={"Idempotency-Key": "one"}))
    check_refusal(hall.world.nobody().post(f"/meetings/{open_}/join", {"display_name": "A guest"}))
    hall.end()
    assert people[1].post(f"/meetings/{closed}/join").status == 202
    assert len(host.get(f"/meetings/{open_}/participants?status=joined").data) == 2


@pytest.mark.parametrize(("path", "status"), [("/fall", 500), ("/forbidden", 400), ("/auth/logout", 401)])
def test_a_slot_comes_back_whatever_the_answer_is(hall: Hall, path: str, status: int) -> None:
    for _ in range(2 * SLOTS):
        assert hall.world.nobody().post(path).status == status
    assert hall.gate._free == SLOTS


def test_a_slot_comes_back_when_a_later_hook_refuses(make_world: Callable[..., World]) -> None:
    world = make_world(http_max_in_flight=1)
    world.app.before_request(lambda: abort(404))
    for _ in range(3):
        assert world.nobody().get("/meetings").status == 404
    assert world.app.extensions["parley-gate"]._free == 1


@pytest.mark.parametrize(("status", "is_work"), [(200, True), (404, True), (503, False)])
def test_f16_what_waited_in_vain_does_not_count_as_work(hall: Hall, status: int, is_work: bool) -> None:
    hall.fill(1, f"/stay?status={status}")
    threading.Event().wait(0.02)
    hall.end()
    assert hall.answers[0].status == status
    assert (hall.gate._slowest >= 0.02) == is_work


class SlowBody(BytesIO):
    """A body that arrives bit by bit; `seen` is how many slots were free while it did."""

    def __init__(self, gate: Gate, data: bytes) -> None:
        super().__init__(data)
        self._gate = gate
        self.seen: set[int] = set()

    def read(self, size: int | None = -1, /) -> bytes:
        self.seen.add(self._gate._free)
        return super().read(min(size or 8, 8) if size and size > 0 else 8)

    def readinto(self, buffer: Any, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def test_who_sends_a_body_slowly_holds_no_slot(hall: Hall) -> None:
    person, data = hall.world.person(), b'{"title": "A title that takes its time"}'
    body = SlowBody(hall.gate, data)
    sent = {"input_stream": body, "content_type": "application/json", "content_length": len(data)}
    check_success(person.call("POST", "/meetings", **sent), 201)
    assert body.seen == {SLOTS}


def test_too_large_a_body_is_told_after_the_credential(hall: Hall) -> None:
    large: dict[str, Any] = {"data": b"x" * (1024 * 1024 + 1), "content_type": "application/json"}
    check_failure(hall.world.nobody().call("POST", "/meetings", **large), 401, "UNAUTHENTICATED")
    check_failure(hall.world.person().call("POST", "/meetings", **large), 413, "PAYLOAD_TOO_LARGE")


def test_every_door_is_gated_and_nothing_else(app: Flask) -> None:
    gated = {name for name in app.view_functions if name.partition(".")[0] not in UNGATED}
    made = {name for name, view in app.view_functions.items() if _is_door(view)}
    # LiveKit is told 503 like everybody else, and sends its report again.
    assert gated == made | {"livekit-webhook.receive_event"}
    assert made


def _is_door(view: Callable[..., Any]) -> bool:
    code = set()
    step: Any = view
    while step is not None:
        code.add(step.__code__.co_filename)
        step = getattr(step, "__wrapped__", None)
    return door.__file__ in code
