"""docker/gunicorn.conf.py, executed as gunicorn does."""

import runpy
import subprocess
import sys
from dataclasses import Field, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shared.core.settings import Settings, default_of, environment_name

pytestmark = pytest.mark.once

CONFIG = Path(__file__).resolve().parents[3] / "docker" / "gunicorn.conf.py"

NAMES = """
PARLEY_ROLE HOST PORT WEB_CONCURRENCY WEB_THREADS HTTP_MAX_IN_FLIGHT HTTP_MAX_WAITING PROMETHEUS_MULTIPROC_DIR
"""


def read(monkeypatch: pytest.MonkeyPatch, **environ: str) -> dict[str, Any]:
    for name in NAMES.split():
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return runpy.run_path(str(CONFIG))


@pytest.mark.parametrize(
    ("environ", "worker_class"),
    [({}, "gevent"), ({"PARLEY_ROLE": "ws"}, "gevent"), ({"PARLEY_ROLE": "rest"}, "gthread")],
)
def test_the_role_chooses_the_worker(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], worker_class: str
) -> None:
    assert read(monkeypatch, **environ)["worker_class"] == worker_class


def test_an_unknown_role_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="PARLEY_ROLE is 'socket'"):
        read(monkeypatch, PARLEY_ROLE="socket")


@pytest.mark.parametrize(("host", "bind"), [("0.0.0.0", "0.0.0.0:9000"), ("::1", "[::1]:9000")])
def test_it_listens_where_it_is_told(monkeypatch: pytest.MonkeyPatch, host: str, bind: str) -> None:
    assert read(monkeypatch, HOST=host, PORT="9000")["bind"] == bind


def test_p13_where_a_waiting_request_holds_a_thread_some_threads_are_left_for_health(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for environ in ({}, {"HTTP_MAX_IN_FLIGHT": "32"}, {"WEB_THREADS": "40"}):
        config = read(monkeypatch, PARLEY_ROLE="rest", **environ)
        at_work = int(environ.get("HTTP_MAX_IN_FLIGHT", default_of(_field("http_max_in_flight"))))
        ((name, waiting),) = (line.split("=") for line in config["raw_env"])
        assert name == environment_name(_field("http_max_waiting"))
        assert at_work + int(waiting) == config["threads"] - 16
    assert "raw_env" not in read(monkeypatch, PARLEY_ROLE="rest", HTTP_MAX_WAITING="7")
    assert "raw_env" not in read(monkeypatch)  # a greenlet more costs nothing


def _field(name: str) -> "Field[Any]":
    return next(field for field in fields(Settings) if field.name == name)


def test_no_preload_and_no_control_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    config = read(monkeypatch)
    assert config["preload_app"] is False
    assert config["control_socket_disable"] is True


GROUP = Path("/proc/self/autogroup")
# As gunicorn does: the arbiter forks, and the worker tells how nice it is, and its session.
ARBITER = f"""
import os, pathlib, runpy, sys
if os.fork() == 0:
    runpy.run_path(sys.argv[1])["let_sockets_go_first"]()
    group = pathlib.Path("{GROUP}")
    print(os.nice(0), group.read_text().split()[-1] if group.exists() else "none", flush=True)
    os._exit(0)
os.wait()
"""


def niceness(*shell: str) -> list[str]:
    """Have an arbiter start a worker, in a session of its own or in that of a shell; return what the worker tells."""
    command = [*shell, sys.executable, "-c", ARBITER, str(CONFIG)]
    return subprocess.run(command, start_new_session=True, capture_output=True, text=True, check=True).stdout.split()


def test_rest_lets_sockets_of_other_sessions_go_first_but_does_not_slow_down_somebodys_shell() -> None:
    weighs_sessions = GROUP.exists()
    assert niceness() == ["10", "10" if weighs_sessions else "none"]
    assert niceness("sh", "-c", '"$@"; true', "sh") == ["10", "0" if weighs_sessions else "none"]


def test_a_dead_worker_leaves_no_live_gauges(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("gauge_livesum_7.db", "gauge_livesum_77.db", "counter_7.db"):
        (tmp_path / name).touch()
    config = read(monkeypatch, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    config["child_exit"](None, SimpleNamespace(pid=7))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counter_7.db", "gauge_livesum_77.db"]
