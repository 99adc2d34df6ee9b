"""What is sent wrong: bodies, fields, queries, ids (contract 1, S30, S79 to S85, S116)."""

import json
from typing import Any

import pytest

from shared.core.ids import new_id
from tests.factories.world import Answer, Person, World
from tests.integration.http.answers import check_failure, check_success

JSON = "application/json"


def send(person: Person, body: bytes, content_type: str = JSON) -> Answer:
    return person.post("/meetings", data=body, content_type=content_type)


@pytest.fixture(autouse=True)
def _nothing_was_made(host: Person, request: pytest.FixtureRequest) -> Any:
    """After each refusal the host has no meeting, unless the test is a positive control."""
    yield
    wanted = 1 if "passes" in request.node.name else 0
    assert len(host.get("/meetings").data) == wanted


# --- bodies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"title=A",
        b"{'title':'A'}",
        b'{"title":"A",}',
        b'{"title":"A"} {}',
        b'{"title":NaN}',
        b'{"title":"A","policy":{"max_participants":Infinity}}',
        b'{"title":"A","policy":{"max_participants":-Infinity}}',
        b'{"title":"A","policy":{"max_participants":1e999}}',
        b'{"title":"\\ud800"}',
        b'{"title":"\xff"}',
        b'{"title":"\xed\xa0\x80"}',
        b'\xef\xbb\xbf{"title":"A"}',
        '{"title":"A"}'.encode("utf-16"),
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_s84_a_body_that_is_no_json_is_400(host: Person, body: bytes):
    check_failure(send(host, body), 400, "MALFORMED_JSON")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"title":"A","title":"B"}', "twice"),
        (b'{"title":"A","\\u0074itle":"B"}', "twice"),
        (b'{"title":"A","policy":{"lock_meeting":false,"lock_meeting":true}}', "twice"),
        (b'{"title":"A\\u0000"}', "NUL"),
        (b'{"title":"A","policy":{"max_participants":9007199254740993}}', "2**53"),
        (b'{"title":"A","policy":{"max_participants":1' + b"0" * 30 + b"}}", "2**53"),
        (b'{"title":"A","policy":' + b'{"x":' * 40 + b"1" + b"}" * 41, "nesting"),
        (b'{"title":"A","policy":{"custom_settings":{"a":' + b"[" * 40 + b"]" * 40 + b"}}}", "nesting"),
        (b'["title"]', "object"),
        (b'"title"', "object"),
        (b"null", "object"),
        (b"1", "object"),
    ],
)
def test_s79_json_that_is_ambiguous_or_no_object_is_422(host: Person, body: bytes, words: str):
    answer = check_failure(send(host, body), 422, "VALIDATION_ERROR")
    assert words in answer.body["details"]["_schema"][0]


@pytest.mark.parametrize("content_type", [JSON, "application/json; charset=utf-8", "application/merge-patch+json"])
def test_a_body_of_a_json_type_passes(host: Person, content_type: str):
    check_success(send(host, b'{"title":"A"}', content_type), 201)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/xml"]
)
def test_another_type_of_body_is_415(host: Person, content_type: str):
    check_failure(send(host, b'{"title":"A"}', content_type), 415, "UNSUPPORTED_MEDIA_TYPE")


def test_a_body_of_one_mebibyte_is_read_and_one_byte_more_is_not(host: Person):
    filling = 1024 * 1024 - len('{"title":""}')
    check_failure(send(host, b'{"title":"%s"}' % (b"x" * filling)), 422, "VALIDATION_ERROR")
    check_failure(send(host, b'{"title":"%s"}' % (b"x" * (filling + 1))), 413, "PAYLOAD_TOO_LARGE")


def test_s116_ten_thousand_keys_are_422(host: Person):
    body = json.dumps({"title": "A", **{f"k{i}": i for i in range(10_000)}}).encode()
    assert len(check_failure(send(host, body), 422, "VALIDATION_ERROR").body["details"]) == 10_000


def test_a_post_that_needs_nothing_passes_without_a_body(world: World, host: Person):
    meeting = world.meeting(host, start=False)
    answer = host.call("POST", f"/meetings/{meeting}/start")
    assert check_success(answer)["meeting_id"] == meeting


# --- fields ---------------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[dict[str, Any], set[str]]] = {
    "nothing": ({}, {"title"}),
    "an empty title": ({"title": ""}, {"title"}),
    "a blank title": ({"title": " \t "}, {"title"}),
    "a title that is too long": ({"title": "x" * 201}, {"title"}),
    "a title that is no text": ({"title": 1}, {"title"}),
    "a title that is null": ({"title": None}, {"title"}),
    "two fields": ({"title": [], "description": {}}, {"title", "description"}),
    "a description that is too long": ({"title": "A", "description": "x" * 5001}, {"description"}),
    "a time that is none": ({"title": "A", "scheduled_start": "tomorrow"}, {"scheduled_start"}),
    "a time without a zone": ({"title": "A", "scheduled_start": "2030-01-01T10:00:00"}, {"scheduled_start"}),
    "a time that is a number": ({"title": "A", "scheduled_start": 1893456000}, {"scheduled_start"}),
    "the 30th of February": ({"title": "A", "scheduled_start": "2030-02-30T10:00:00Z"}, {"scheduled_start"}),
    "the year 9999": ({"title": "A", "scheduled_start": "9999-12-31T23:59:59-12:00"}, {"scheduled_start"}),
    "the year 1": ({"title": "A", "scheduled_start": "0001-01-01T00:00:00+14:00"}, {"scheduled_start"}),
    "an end before the start": (
        {"title": "A", "scheduled_start": "2030-01-01T10:00:00Z", "scheduled_end": "2030-01-01T09:59:59Z"},
        {"scheduled_end"},
    ),
    "an end at the start": (
        {"title": "A", "scheduled_start": "2030-01-01T10:00:00Z", "scheduled_end": "2030-01-01T11:00:00+01:00"},
        {"scheduled_end"},
    ),
    "a zone that is none": ({"title": "A", "time_zone": "Mars/Olympus"}, {"time_zone"}),
    "a zone that is a path": ({"title": "A", "time_zone": "../../etc/passwd"}, {"time_zone"}),
    "an address that is none": ({"title": "A", "invitees": ["a@example.com", "somebody"]}, {"invitees.1"}),
    "an address that looks like another": ({"title": "A", "invitees": ["a@exаmple.com"]}, {"invitees.0"}),
    "too many addresses": ({"title": "A", "invitees": [f"a{i}@example.com" for i in range(501)]}, {"invitees"}),
    "a template that is not there": ({"title": "A", "template_id": new_id()}, {"template_id"}),
    "a policy that is no object": ({"title": "A", "policy": []}, {"policy._schema"}),
    "a rule that is not there": ({"title": "A", "policy": {"is_open": True}}, {"policy.is_open"}),
    "a truth that only looks like one": ({"title": "A", "policy": {"lock_meeting": "true"}}, {"policy.lock_meeting"}),
    "a truth that is a number": ({"title": "A", "policy": {"lock_meeting": 1}}, {"policy.lock_meeting"}),
    "a number that only looks like one": (
        {"title": "A", "policy": {"max_participants": "50"}},
        {"policy.max_participants"},
    ),
    "half a person": ({"title": "A", "policy": {"max_participants": 1.5}}, {"policy.max_participants"}),
    "no person at all": ({"title": "A", "policy": {"max_participants": 0}}, {"policy.max_participants"}),
    "too many people": ({"title": "A", "policy": {"max_participants": 10_001}}, {"policy.max_participants"}),
}


@pytest.mark.parametrize(("body", "named"), WRONG.values(), ids=WRONG.keys())
def test_fields_that_are_wrong_are_named(host: Person, body: dict[str, Any], named: set[str]):
    details = check_failure(host.post("/meetings", body), 422, "VALIDATION_ERROR").body["details"]
    assert set(details) == named
    assert all(isinstance(message, str) for name in named for message in _messages(details[name]))


def _messages(said: Any) -> list[Any]:
    """Return the messages at the bottom of what is said about a field, which may be a field of fields."""
    if isinstance(said, dict):
        return [message for inner in said.values() for message in _messages(inner)]
    assert isinstance(said, list)
    assert said
    return said


@pytest.mark.parametrize(
    "name",
    [
        "status",
        "meeting_id",
        "host",
        "host_id",
        "user_id",
        "tenant_id",
        "created_at",
        "started_at",
        "role",
        "is_host",
        "seq",
        "scheduledStart",
        "__proto__",
        "constructor",
        "$where",
        "toString",
    ],
)
def test_s30_s85_a_field_that_is_not_known_is_refused(host: Person, name: str):
    answer = host.post("/meetings", {"title": "A", name: "x"})
    assert check_failure(answer, 422, "VALIDATION_ERROR").body["details"] == {name: ["Unknown field."]}


@pytest.mark.parametrize(
    "text",
    [
        "'; DROP TABLE meetings; --",
        "{{7*7}} ${7*7} <%= 7*7 %>",
        "<script>alert(1)</script>",
        "*)(uid=*))(|(uid=*",
        "A\r\nSet-Cookie: a=b",
        'A\n{"level":"error"}',
        "../../etc/passwd",
        "%s %n \\u0041 \\0",
        "\u202eevil",
        "\U0001f600 日本",
    ],
)
def test_s124_text_passes_as_it_is_whatever_it_means_elsewhere(host: Person, text: str):
    meeting = check_success(host.post("/meetings", {"title": text, "description": text}), 201)["meeting_id"]
    found = host.get(f"/meetings/{meeting}").data
    assert (found["title"], found["description"]) == (text, text)


# --- queries --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=1000000", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=1.5", "limit"),
        ("limit=", "limit"),
        ("limit=%D9%A3", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=", "cursor"),
        ("cursor=nonsense", "cursor"),
        ("cursor=../..", "cursor"),
        ("cursor=" + "A" * 201, "cursor"),
        ("cursor=%00", "_schema"),
        ("cursor=4pyT", "cursor"),
        ("status=running", "status"),
        ("from=yesterday", "from"),
        ("to=2030-01-01", "to"),
        ("from=9999-12-31T23:59:59-14:00", "from"),
        ("user_id=x", "user_id"),
        ("tenant_id=x", "tenant_id"),
        ("expand=host", "expand"),
        ("sort=title", "sort"),
        ("offset=1", "offset"),
    ],
)
def test_s21_s119_a_query_that_is_wrong_is_named(host: Person, query: str, named: str):
    answer = check_failure(host.get(f"/meetings?{query}"), 422, "VALIDATION_ERROR")
    assert list(answer.body["details"]) == [named]


@pytest.mark.parametrize("path", ["/auth/me", "/meetings/x", "/meetings/x/status", "/meetings/x/snapshot"])
def test_s21_a_query_is_refused_where_none_is_known(host: Person, path: str):
    answer = check_failure(host.get(f"{path}?access_token=x&user_id=y"), 422, "VALIDATION_ERROR")
    assert set(answer.body["details"]) == {"access_token", "user_id"}


def test_s116_a_thousand_query_parameters_are_422(host: Person):
    query = "&".join(f"k{i}=1" for i in range(1000))
    check_failure(host.get(f"/meetings?{query}"), 422, "VALIDATION_ERROR")


def test_a_write_takes_no_query(world: World, host: Person):
    check_failure(host.post("/meetings?title=B", {"title": "A"}), 422, "VALIDATION_ERROR")


# --- ids ------------------------------------------------------------------------------------------------------------

MALFORMED_IDS = [
    "x",
    "-1",
    "9223372036854775808",
    "1.5",
    "null",
    "%7B01HX3M6P2K8Z4Q7R9T1V5W0Y2%7D",
    "0190163d-8694-739b-aea5-966c26f8ad91",
    "x" * 2000,
    "%F0%9F%98%80",
    "%00",
    "01HX3M6P2K8Z4Q7R9T1V5W0Y2A%00",
    "..%5c..",
    "' OR 1=1",
    "%ff%fe",
]


@pytest.mark.parametrize("id_", MALFORMED_IDS)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "", None), ("PATCH", "", {"title": "B"}), ("POST", "/start", {}), ("GET", "/status", None)],
)
def test_s81_a_malformed_id_is_404_as_an_unknown_one(host: Person, method: str, path: str, body: Any, id_: str):
    check_failure(host.call(method, f"/meetings/{id_}{path}", body), 404, "MEETING_NOT_FOUND")


def test_s81_an_id_in_lower_case_names_nothing(world: World):
    owner = world.person()
    meeting = world.meeting(owner, start=False)
    assert owner.get(f"/meetings/{meeting}").status == 200
    check_failure(owner.get(f"/meetings/{meeting.lower()}"), 404, "MEETING_NOT_FOUND")


def test_s81_a_slash_in_an_id_leads_nowhere(host: Person):
    for path in ("/meetings/..%2f..%2fmeetings", "/meetings/a/b/c"):
        assert host.get(path).status == 404
