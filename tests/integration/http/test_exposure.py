"""What an attendee can read of a meeting: nothing of others that is not for them, and nothing that runs (S15, S91)."""

import base64
import json
from typing import Any

import pytest

from tests.factories.world import Person, World
from tests.integration.http.answers import check_success
from web.http.door import DOORS

PASSCODE = "canary-4711-passcode"
XSS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    '"><script src=//evil.example/x.js></script>',
    "'-alert(1)-'",
    "javascript:alert(1)",
    "<a href='javascript:alert(1)'>x</a>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<body onload=alert(1)>",
    "<math><mi//xlink:href='data:x,<script>alert(1)</script>'>",
    "</title><script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<!--><script>alert(1)</script>-->",
    "{{constructor.constructor('alert(1)')()}}",
    "${alert(1)}",
    "<%= 7*7 %>",
    "{% raw %}{{ config }}{% endraw %}",
    "@<b onmouseover=alert(1)>everybody</b>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
]


def reading_doors(person: Person, meeting_id: str) -> list[str]:
    """Return the answer of everything about a meeting that can be read, as text."""
    found = []
    for door in DOORS:
        path = door.path.removeprefix("/api/v1")
        if door.method == "GET" and "<meeting_id>" in path and path.count("<") == 1:
            streams = ("", "?stream=me", "?stream=hosts") if path.endswith("<meeting_id>/events") else ("",)
            for query in streams:
                answer = person.get(path.replace("<meeting_id>", meeting_id) + query)
                assert answer.status in (200, 403), (path, answer.body)
                found.append(json.dumps(answer.body, ensure_ascii=False))
    assert len(found) > 8
    return found


def decoded(token: str) -> str:
    """Return the claims of a token as text."""
    return base64.urlsafe_b64decode(token.split(".")[1] + "==").decode()


def test_s15_an_attendee_finds_no_secret_and_nobodys_address_anywhere(world: World):
    host, ada, bob, ina = (world.person() for _ in range(4))
    policy = {"require_password": True, "passcode": PASSCODE, "blocked_users": [world.person().id]}
    meeting_id = world.meeting(host, policy={**policy, "allow_anonymous_join": True}, invitees=[ina.email])
    world.inside(meeting_id, host)
    wish = {"passcode": PASSCODE}
    seats = [p.post(f"/meetings/{meeting_id}/join", wish).data for p in (ada, bob)]
    guest = world.nobody().post(f"/meetings/{meeting_id}/join", {**wish, "display_name": "Gus"}).data
    guest_token = guest.pop("guest_token")
    bob.post(f"/meetings/{meeting_id}/chat", {"content": "psst", "recipient_id": seats[0]["participant_id"]})
    host.patch(f"/meetings/{meeting_id}/participants/{seats[1]['participant_id']}", {"role": "co-host"})
    host.patch(f"/meetings/{meeting_id}/security/policy", {"passcode": f"{PASSCODE}-2"})
    media = [p.post(f"/meetings/{meeting_id}/token").data for p in (ada, world.guest(guest_token))]
    settings = world.runtime.settings
    never = [PASSCODE, "argon2", "passcode_hash", settings.secret_key, settings.jwt_secret_key]
    never += [settings.livekit_api_secret, settings.database_url, settings.redis_url, host.email, bob.email, ina.email]
    for person in (ada, world.guest(guest_token)):
        seen = [*reading_doors(person, meeting_id), json.dumps([seats, guest])]
        seen += [json.dumps(one) for one in media] + [decoded(one["token"]) for one in media]
        text = "\n".join(seen).replace(settings.base_url, "")
        assert [secret for secret in never if secret in text] == []
        assert "127.0.0.1" not in text.replace(settings.livekit_url, "")
        assert "psst" in text or person is not ada  # what is theirs to read is there
    assert ada.email in json.dumps(ada.get("/auth/me").body)


def test_s91_text_comes_back_as_it_was_said_and_never_as_a_page(world: World):
    host, ada = world.person(), world.person()
    meeting_id = world.meeting(host, title=XSS[0], description="\n".join(XSS))
    world.inside(meeting_id, host)
    headers = {"User-Agent": XSS[0], "X-Request-ID": XSS[1], "Accept": "text/html"}
    wish = {"device_type": XSS[2], "display_name": XSS[1]}
    check_success(ada.post(f"/meetings/{meeting_id}/join", wish, headers=headers))
    said = [check_success(ada.post(f"/meetings/{meeting_id}/chat", {"content": text}), 201) for text in XSS]
    assert [message["content"] for message in said] == XSS
    assert [message["content"] for message in host.get(f"/meetings/{meeting_id}/chat").data] == XSS
    seen = host.get(f"/meetings/{meeting_id}", headers={"Accept": "text/html"})
    assert (seen.data["title"], seen.data["description"]) == (XSS[0], "\n".join(XSS))
    for person in (host, ada, world.nobody()):
        for path in (f"/meetings/{meeting_id}", f"/meetings/{meeting_id}/chat", f"/{XSS[0]}", f"/docs?x={XSS[0]}"):
            _check_is_no_page(person.get(path, headers={"Accept": "text/html"}))


def _check_is_no_page(answer: Any) -> None:
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    if answer.headers["Content-Type"] != "application/json":  # the page of the documents, which repeats nothing
        assert answer.body is None


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,<script>alert(1)</script>", "//evil.example/x"])
def test_s91_a_file_with_a_name_and_an_address_that_run_is_refused(world: World, url: str):
    host = world.person()
    meeting_id = world.meeting(host)
    world.inside(meeting_id, host)
    message: dict[str, Any] = {"content": "look", "message_type": "file", "file": {"name": XSS[0], "url": url}}
    assert host.post(f"/meetings/{meeting_id}/chat", message).code == "VALIDATION_ERROR"
    message["file"]["url"] = "https://example.com/a"
    assert host.post(f"/meetings/{meeting_id}/chat", message).data["file"]["name"] == XSS[0]
