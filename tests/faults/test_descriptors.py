"""What a process holds open is told by kind."""

import os
import socket
from pathlib import Path

import pytest

from dev.process import LOOPBACK
from tests.faults.descriptors import change, descriptors

pytestmark = pytest.mark.once


def test_each_descriptor_that_is_opened_is_told_by_what_it_is(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with socket.create_server((LOOPBACK, 0)) as known, socket.create_server((LOOPBACK, 0)) as unknown:
        neighbours = {known.getsockname()[1]: "the known one"}
        before = descriptors(os.getpid(), neighbours)
        with (
            socket.create_connection(known.getsockname()),
            socket.create_connection(unknown.getsockname()),
            socket.create_server((LOOPBACK, 0)),
            socket.socket(),
            file.open("w"),
        ):
            pipe = os.pipe()
            pair = socket.socketpair()
            held = change(before, descriptors(os.getpid(), neighbours))
            accepted = known.accept()[0]
            both = change(before, descriptors(os.getpid(), neighbours))
            for end in (*pair, accepted):
                end.close()
            for number in pipe:
                os.close(number)
    assert held == {
        "Unix socket": 2,
        "listening socket": 1,
        "pipe": 2,
        "socket to somebody else": 1,
        "socket without a connection": 1,
        "the known one": 1,
        str(file): 1,
    }
    assert change(held, both) == {"the known one": 1}


def test_what_did_not_change_is_not_told() -> None:
    assert change({"pipe": 2, "gone": 1, "same": 3}, {"pipe": 3, "same": 3, "new": 2}) == {
        "gone": -1,
        "new": 2,
        "pipe": 1,
    }
