"""Refusals and their catalogue."""

import pytest

from shared.core.errors import CATALOGUE, DomainError, MalformedBody, ServiceUnavailable, ValidationFailed

pytestmark = pytest.mark.once


def test_a_refusal_stands_in_the_catalogue_under_its_code():
    assert CATALOGUE["VALIDATION_ERROR"] is ValidationFailed


def test_a_code_cannot_be_declared_twice():
    before = dict(CATALOGUE)
    with pytest.raises(TypeError, match=r"MALFORMED_JSON is declared twice: MalformedBody, Copycat"):

        class Copycat(DomainError):
            code, status = "MALFORMED_JSON", 400

    assert before == CATALOGUE


def test_a_narrower_kind_keeps_the_code_of_what_it_narrows():
    class Narrower(MalformedBody):
        message = "It is worse than that."

    assert (Narrower.code, Narrower.status) == ("MALFORMED_JSON", 400)
    assert CATALOGUE["MALFORMED_JSON"] is MalformedBody
    assert Narrower().text == "It is worse than that."


def test_a_refusal_says_its_message_unless_told_another():
    assert str(MalformedBody()) == MalformedBody.message
    assert str(MalformedBody("Line 3.")) == MalformedBody("Line 3.").text == "Line 3."


def test_details_are_a_copy():
    details = {"title": ["Too long."]}
    refusal = ValidationFailed(details=details)
    details.clear()
    assert refusal.details == {"title": ["Too long."]}
    assert ValidationFailed().details == {}


def test_an_unavailable_service_says_when_to_come_back():
    refusal = ServiceUnavailable(details={"redis": False})
    assert (refusal.retry_after_seconds, refusal.details, refusal.retryable) == (1, {"redis": False}, True)
    assert MalformedBody().retry_after_seconds is None
