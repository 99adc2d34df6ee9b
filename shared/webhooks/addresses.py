"""Where a webhook may lead (attacks S107, S108): not into our own network, by whatever way it is written.

A URL is looked up once; every address that its name stands for is judged, and the connection is made to a judged one.
"""

import ipaddress
import re
import socket
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LOOKUP_SECONDS = 3.0
LONGEST_URL = 2000
_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?")
# Names that mean somebody's own network, whether or not they can be looked up from here.
_INTERNAL = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "home.arpa")

# What `is_global` calls global and is not one host on the Internet, or leads to an address hidden in it (M31).
_REFUSED = tuple(
    ipaddress.ip_network(net)
    for net in (
        "192.0.0.0/24",  # IETF protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",
        "2001::/23",  # Teredo, ORCHID, benchmarks
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
_UNICAST = ipaddress.ip_network("2000::/3")  # of IPv6, all that is given out
# Never, whatever is configured: metadata services of clouds, and what is no host.
_NEVER = tuple(
    ipaddress.ip_network(net)
    for net in ("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/128", "fe80::/10", "ff00::/8", "fd00:ec2::/32")
)


class NotAllowed(Exception):
    """A webhook may not lead there. The text says why, for whoever configured it."""


class NotFoundThere(Exception):
    """The name of the host stands for no address now."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL, taken apart. `path` is what stands in the request line."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def host_header(self) -> str:
        """Return the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        is_default = self.port == (443 if self.scheme == "https" else 80)
        return host if is_default else f"{host}:{self.port}"


def parse(url: str, *, private: bool) -> Target:
    """Take a URL apart. `private` says that private addresses are allowed. Raises NotAllowed."""
    if len(url) > LONGEST_URL or not all("!" <= char <= "~" for char in url) or "\\" in url:
        raise NotAllowed("Must be a URL of ASCII characters without white space; write other ones as %XX or xn--….")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise NotAllowed("Is not a URL.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NotAllowed("Must begin with https:// and name a host.")
    if "@" in parts.netloc or "#" in url:
        raise NotAllowed("Must have no user name and no fragment.")
    if port == 0 or parts.netloc.endswith(":"):
        raise NotAllowed("Has no valid port.")
    host = _host(parts.hostname, private=private)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path)


def _host(host: str, *, private: bool) -> str:
    """Return a host that is a name, or an address as addresses are written. Raises NotAllowed."""
    literal = _literal(host)
    if literal is not None:
        judge(literal, private=private)
        return str(literal)
    name = host.rstrip(".")
    last = name.rpartition(".")[2]
    if not _HOST.fullmatch(host) or len(host) > 253 or last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last):
        raise NotAllowed("Names no host.")
    is_internal = "." not in name or any(name == one or name.endswith(f".{one}") for one in _INTERNAL)
    if is_internal and not private:
        raise NotAllowed("Must be a host on the Internet.")
    return name


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def judge(address: Address, *, private: bool) -> None:
    """Raise NotAllowed when nothing may be sent to an address."""
    is_v6 = isinstance(address, ipaddress.IPv6Address)
    is_public = address.is_global and not address.is_multicast and not _is_in(address, _REFUSED)
    if is_v6:
        is_public = is_public and address in _UNICAST
    is_allowed = is_public or (private and (address.is_private or address.is_loopback))
    if getattr(address, "ipv4_mapped", None) is not None or getattr(address, "scope_id", None) is not None:
        is_allowed = False
    if not is_allowed or _is_in(address, _NEVER):
        raise NotAllowed("Must be a host on the Internet.")


def _is_in(address: Address, networks: Sequence[Any]) -> bool:
    return any(address in network for network in networks)


def look_up(target: Target, *, private: bool) -> list[str]:
    """Return the addresses of a host, each of them judged. Takes LOOKUP_SECONDS at most.

    Raises NotAllowed when one of them is not allowed, NotFoundThere when there is none.
    """
    found = _answer(target.host, target.port)
    for address in found:
        parsed = _literal(address)
        if parsed is None:
            raise NotAllowed("Must be a host on the Internet.")
        judge(parsed, private=private)
    return found


# More than anybody sends at once: a name server that never answers holds a thread long after we stopped to wait for it,
# and must not keep others from being looked up.
_resolvers = ThreadPoolExecutor(128, thread_name_prefix="lookup")


def _answer(host: str, port: int) -> list[str]:
    # The system's resolver knows no deadline.
    asked: Future[list[Any]] = _resolvers.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        answers = asked.result(LOOKUP_SECONDS)
    except TooLate:
        asked.cancel()
        raise NotFoundThere("The name of the host was not found in time.") from None
    except (OSError, UnicodeError):
        raise NotFoundThere("The name of the host was not found.") from None
    found = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
    if not found:
        raise NotFoundThere("The name of the host was not found.")
    return found


def check(url: str, *, private: bool) -> None:
    """Judge a URL before it is kept. Raises NotAllowed.

    A name that stands for no address now is let through: it is looked up and judged again whenever something is sent.
    """
    target = parse(url, private=private)
    try:
        look_up(target, private=private)
    except NotFoundThere:
        return
