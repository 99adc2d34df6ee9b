"""The launcher behind `make run`, with small programs in place of web, worker and beat."""

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dev.process import LOOPBACK, free_port

pytestmark = pytest.mark.once

PROJECT = Path(__file__).resolve().parents[3]
SLOWEST_SECONDS = 15.0

# Answers /readyz; beside it a grandchild, as gunicorn and celery have them.
WEB = """
import os, subprocess, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{"message": "Not ready: worker does not answer."}'
        self.send_response(int(os.environ.get("READY_STATUS", "200")))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("pid", os.getpid(), flush=True)
print("pid", child.pid, flush=True)
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
IDLE = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + IDLE
BROKEN = "import sys, time; time.sleep(0.3); print('no such table: meetings'); sys.exit(3)"


class Launched:
    """One launcher, run by a driver script in a folder of its own."""

    def __init__(self, root: Path, programs: dict[str, str], **environ: str) -> None:
        self.port = free_port()
        self._out = root / "out.txt"
        commands = {name: [sys.executable, "-c", source] for name, source in programs.items()}
        driver = f"""
            import os, sys
            from pathlib import Path
            from dev.launcher import Plan, launch
            prepare = {{"migrate": [sys.executable, "-c", "print('migrated')"]}}
            sys.exit(launch(Plan(prepare, {commands!r}, ready_seconds=2), Path.cwd(), os.environ))
        """
        given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "PORT": str(self.port)} | environ
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(driver)],
                cwd=root,
                env=given,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._out.read_text()

    @property
    def pids(self) -> list[int]:
        """The programs that said their number, and the server that the launcher embeds."""
        return [int(found) for found in re.findall(r"\| pid (\d+)", self.output)]

    def pid_of(self, name: str) -> int:
        return int(re.findall(rf"{name} \| pid (\d+)", self.output)[0])

    def wait_for(self, text: str) -> None:
        eventually(lambda: text in self.output or self.process.poll() is not None)
        assert text in self.output

    def wait(self) -> int:
        return self.process.wait(SLOWEST_SECONDS)


def eventually(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + SLOWEST_SECONDS
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


Launch = Callable[..., Launched]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    running: list[Launched] = []

    def start(programs: dict[str, str], **environ: str) -> Launched:
        running.append(Launched(tmp_path, programs, **environ))
        return running[-1]

    yield start
    for launched in running:
        launched.process.kill()
        launched.process.wait()
        for pid in launched.pids:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)


def test_ctrl_c_stops_everything_in_reverse_order_and_exits_0(launch: Launch) -> None:
    launched = launch({"web": WEB, "worker": IDLE, "beat": IDLE})
    launched.wait_for("READY")
    valkey_port = int(re.findall(r"answers on port (\d+)", launched.output)[0])
    assert is_listening(valkey_port)

    begin = time.monotonic()
    launched.process.send_signal(signal.SIGINT)

    assert launched.wait() == 0
    assert time.monotonic() - begin < 5
    stopped = re.findall(r"(\w+) \| stopped \(", launched.output)
    assert stopped == ["beat", "worker", "web", "valkey"]
    assert len(launched.pids) == 4
    assert not any(is_alive(pid) for pid in launched.pids)
    assert not is_listening(valkey_port)


def test_a_program_that_does_not_stop_is_killed_within_5_seconds(launch: Launch) -> None:
    launched = launch({"web": WEB, "worker": STUBBORN})
    launched.wait_for("READY")

    begin = time.monotonic()
    launched.process.terminate()

    assert launched.wait() == 0
    assert time.monotonic() - begin < 5
    assert "worker | killed, it did not stop in time" in launched.output
    assert not any(is_alive(pid) for pid in launched.pids)


def test_a_program_that_ends_by_itself_ends_all_and_is_named(launch: Launch) -> None:
    launched = launch({"web": WEB, "worker": IDLE, "beat": BROKEN})

    assert launched.wait() == 1
    assert "beat ended with exit code 3. Its last lines:\n    no such table: meetings" in launched.output
    assert re.findall(r"(\w+) \| stopped \(", launched.output) == ["worker", "web", "valkey"]
    assert not any(is_alive(pid) for pid in launched.pids)


def test_a_killed_program_is_named_with_its_signal(launch: Launch) -> None:
    launched = launch({"web": WEB, "worker": IDLE})
    launched.wait_for("READY")
    launched.wait_for("worker | pid")
    os.kill(launched.pid_of("worker"), signal.SIGKILL)

    assert launched.wait() == 1
    assert "worker was killed by SIGKILL" in launched.output


def test_nothing_outlives_a_killed_launcher(launch: Launch) -> None:
    launched = launch({"web": WEB, "worker": STUBBORN, "beat": IDLE})
    launched.wait_for("READY")
    valkey_port = int(re.findall(r"answers on port (\d+)", launched.output)[0])

    launched.process.kill()

    eventually(lambda: not any(is_alive(pid) for pid in launched.pids) and not is_listening(valkey_port))


def test_it_says_which_part_is_not_ready_and_gives_up(launch: Launch) -> None:
    launched = launch({"web": WEB, "worker": IDLE}, READY_STATUS="503")

    assert launched.wait() == 1
    assert "Not ready after 2 s. Not ready: worker does not answer." in launched.output
    assert not any(is_alive(pid) for pid in launched.pids)


def test_a_taken_port_is_refused_before_anything_starts(launch: Launch) -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen(1)
        launched = launch({"web": WEB}, PORT=str(other.getsockname()[1]))

        assert launched.wait() == 1
    assert "it is taken. Choose another port: PORT=8001 make run" in launched.output
    assert "valkey" not in launched.output


def test_a_second_launcher_in_the_same_folder_is_refused(launch: Launch) -> None:
    first = launch({"web": WEB})
    first.wait_for("READY")

    second = launch({"web": WEB})

    assert second.wait() == 1
    assert f"Already running in this folder (process {first.process.pid})" in second.output


def test_a_failing_migration_ends_the_start(tmp_path: Path) -> None:
    driver = """
        import os, sys
        from pathlib import Path
        from dev.launcher import Plan, launch
        plan = Plan({"migrate": [sys.executable, "-c", "print('bad revision'); raise SystemExit(2)"]}, {})
        sys.exit(launch(plan, Path.cwd(), os.environ))
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(driver)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(PROJECT), "PORT": str(free_port())},
        capture_output=True,
        text=True,
        check=False,
        timeout=SLOWEST_SECONDS,
    )
    assert ended.returncode == 1
    assert "migrate ended with exit code 2. Its last lines:\n    bad revision" in ended.stdout
