"""What a process holds open is told by kind."""

import json
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from dev.process import LOOPBACK
from tests.faults.descriptors import change, descriptors

pytestmark = pytest.mark.once

# A process of its own: in that of the tests others' sockets are closed whenever garbage is collected.
PROGRAM = """
import json, os, socket, sys
known, unknown, file = json.loads(sys.argv[1])

def wait():
    print("ready", flush=True)
    sys.stdin.readline()

wait()
listening = socket.create_server(("127.0.0.1", 0))
held = [socket.create_connection(("127.0.0.1", known)), socket.create_connection(("127.0.0.1", unknown))]
held += [socket.socket(), open(file, "w"), os.pipe(), socket.socketpair()]
wait()
caller = socket.create_connection(listening.getsockname())
wait()
"""


def step(process: "subprocess.Popen[str]", neighbours: dict[int, str]) -> Counter[str]:
    """Wait until it has done a step; return what it holds then, and let it go on."""
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "ready\n"
    held = descriptors(process.pid, neighbours)
    process.stdin.write("\n")
    process.stdin.flush()
    return held


def test_each_descriptor_that_is_opened_is_told_by_what_it_is(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with socket.create_server((LOOPBACK, 0)) as known, socket.create_server((LOOPBACK, 0)) as unknown:
        ports = [server.getsockname()[1] for server in (known, unknown)]
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps([*ports, str(file)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            before, held, more = (step(process, {ports[0]: "the known one"}) for _ in range(3))
    assert process.returncode == 0
    assert change(before, held) == {
        "Unix socket": 2,
        "listening socket": 1,
        "pipe": 2,
        "socket to somebody else": 1,
        "socket without a connection": 1,
        "the known one": 1,
        str(file): 1,
    }
    assert change(held, more) == {"socket to somebody else": 1}


def test_what_did_not_change_is_not_told() -> None:
    assert change({"pipe": 2, "gone": 1, "same": 3}, {"pipe": 3, "same": 3, "new": 2}) == {
        "gone": -1,
        "new": 2,
        "pipe": 1,
    }
