"""Where a webhook may lead, and where it may not however that is written (attacks S107, S108; M31)."""

import ipaddress
import socket
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.webhooks import addresses
from shared.webhooks.addresses import NotAllowed, NotFoundThere, check, judge, look_up, parse

INWARD = [
    "http://127.0.0.1/",
    "http://127.1/",
    "http://0x7f000001/",
    "http://2130706433/",
    "http://0177.0.0.1/",
    "http://0x7f.1/",
    "http://①②⑦.0.0.1/",
    "http://127。0。0。1/",
    "http://０x7f000001/",
    "http://localhost/",
    "http://localhost./",
    "http://LOCALHOST/",
    "http://printer.local/",
    "http://metadata.google.internal/",
    "http://intranet/",
    "http://0.0.0.0/",
    "http://0/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://192.0.0.8/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:7f00:1::]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
]
NO_URLS = [
    "",
    "example.com",
    "//example.com/",
    "http://",
    "http:///path",
    "file:///etc/passwd",
    "gopher://example.com/",
    "ftp://example.com/",
    "redis://example.com:6379/",
    "javascript:alert(1)",
    "http://ok@127.0.0.1/",
    "http://ok:pass@example.com/",
    "http://@example.com/",
    "http://127.0.0.1#@example.com/",
    "http://example.com/#part",
    "http://example.com#",
    "http://example.com\\@127.0.0.1/",
    "http://exam ple.com/",
    "http://example.com/a b",
    "http://example.com/\r\nX-Evil: 1",
    "http://example.com:0/",
    "http://example.com:/",
    "http://example.com:65536/",
    "http://example.com:80a/",
    "http://[::1",
    "http://-example.com/",
    "http://example..com/",
    "http://exa%6dple.com/",
    "http://" + "a" * 64 + ".com/",
    "https://example.com/" + "a" * 2000,
]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What names stand for: nothing that is not put in here."""
    names: dict[str, list[str]] = {}

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        try:
            found = [str(ipaddress.ip_address(host))]
        except ValueError:
            found = names.get(host, [])
        if not found:
            raise socket.gaierror("unknown")
        return [(0, 0, 0, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names


@pytest.mark.parametrize("url", INWARD + NO_URLS)
def test_s107_what_leads_inward_or_is_no_web_address_is_refused(url: str, resolver: dict[str, list[str]]):
    with pytest.raises(NotAllowed):
        check(url, private=False)


@pytest.mark.parametrize("url", INWARD)
def test_s107_so_it_is_with_the_systems_own_resolver(url: str):
    with pytest.raises(NotAllowed):
        check(url, private=False)


@pytest.mark.parametrize("url", [*NO_URLS, "http://169.254.169.254/", "http://[fd00:ec2::254]/", "http://0.0.0.0/"])
def test_some_things_no_setting_allows(url: str):
    with pytest.raises(NotAllowed):
        check(url, private=True)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/", "http://10.1.2.3/", "http://[::1]:99/", "http://localhost/x"]
)
def test_private_addresses_are_allowed_where_the_setting_says_so(url: str):
    check(url, private=True)


def test_a_url_is_taken_apart_as_it_will_be_sent(resolver: dict[str, list[str]]):
    target = parse("HTTPS://Hooks.Example.COM:8443/a/b?c=d&e=%20", private=False)
    assert (target.scheme, target.host, target.port) == ("https", "hooks.example.com", 8443)
    assert (target.path, target.host_header) == ("/a/b?c=d&e=%20", "hooks.example.com:8443")
    plain = parse("https://example.com.", private=False)
    assert (plain.port, plain.path, plain.host_header) == (443, "/", "example.com")
    assert parse("http://[2606:4700::1111]/", private=False).host_header == "[2606:4700::1111]"


@pytest.mark.parametrize("inner", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "64:ff9b::a00:1", "fe80::1%2"])
def test_s108_one_address_inside_is_enough_to_refuse_a_name(inner: str, resolver: dict[str, list[str]]):
    resolver["two.example.com"] = ["93.184.215.14", inner]
    with pytest.raises(NotAllowed):
        check("https://two.example.com/", private=False)


def test_a_name_that_nobody_knows_is_kept_and_judged_when_something_is_sent(resolver: dict[str, list[str]]):
    check("https://later.example.com/", private=False)
    target = parse("https://later.example.com/", private=False)
    with pytest.raises(NotFoundThere):
        look_up(target, private=False)
    resolver["later.example.com"] = ["93.184.215.14", "93.184.215.15"]
    assert look_up(target, private=False) == ["93.184.215.14", "93.184.215.15"]


def test_a_resolver_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    release = threading.Event()
    monkeypatch.setattr(addresses, "LOOKUP_SECONDS", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(10))
    with pytest.raises(NotFoundThere):
        look_up(parse("https://slow.example.com/", private=False), private=False)
    release.set()


@given(st.ip_addresses())
def test_nothing_is_public_that_the_registries_call_private(address: Any):
    try:
        judge(address, private=False)
    except NotAllowed:
        return
    inward = ("private", "loopback", "link_local", "multicast", "reserved", "unspecified")
    assert [kind for kind in inward if getattr(address, f"is_{kind}")] == []
    assert address.is_global
    assert getattr(address, "ipv4_mapped", None) is getattr(address, "sixtofour", None) is None
