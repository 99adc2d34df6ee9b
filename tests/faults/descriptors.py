"""What a process holds open, by kind: sockets by whom they lead to, pipes, files."""

import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

LISTENING = "0A"


def descriptors(pid: int, neighbours: Mapping[int, str]) -> Counter[str]:
    """Count the file descriptors of a process by kind; `neighbours` are the names of ports, of either end."""
    sockets = _sockets(pid, neighbours)
    held: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since
            held[_kind(str(entry.readlink()), sockets)] += 1
    return held


def _kind(target: str, sockets: Mapping[str, str]) -> str:
    """Return what a descriptor is, by where its link in /proc leads."""
    if target.startswith("socket:"):
        return sockets.get(target, "socket without a connection")
    return re.sub(r":\[\d+\]$", "", target)  # a pipe's number is different each time


def _sockets(pid: int, neighbours: Mapping[int, str]) -> dict[str, str]:
    """Return the kinds of all TCP and Unix sockets that a process can see, by the target of their links."""
    found = {}
    for version in ("tcp", "tcp6"):
        for line in _table(pid, version):
            local, remote, state, inode = line[1], line[2], line[3], line[9]
            found[f"socket:[{inode}]"] = _name(_port(local), _port(remote), state, neighbours)
    for line in _table(pid, "unix"):
        found[f"socket:[{line[6]}]"] = "Unix socket"
    return found


def _table(pid: int, name: str) -> list[list[str]]:
    with suppress(FileNotFoundError):  # no IPv6 here
        return [line.split() for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]]
    return []


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _name(local: int, remote: int, state: str, neighbours: Mapping[int, str]) -> str:
    if state == LISTENING:
        return "listening socket"
    return neighbours.get(remote) or neighbours.get(local) or "socket to somebody else"


def change(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Return by how much each kind became more or less, without those that did not change."""
    kinds = sorted({*before, *after})
    return {kind: more for kind in kinds if (more := after.get(kind, 0) - before.get(kind, 0))}
