"""Display names (S46)."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.identity.names import MAX_LENGTH, clean_name, look_alike, marked

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("Ada Lovelace", "Ada Lovelace"),
        ("  Ada \t  Lovelace ", "Ada Lovelace"),
        ("Ada\r\nLovelace", "Ada Lovelace"),
        ("Ada\u2028Lovelace\u0085", "Ada Lovelace"),
        ("Ada\u00a0Lovelace\u3000", "Ada Lovelace"),
        ("\u202eecalevoL adA", "ecalevoL adA"),
        ("\u2066Ada\u2069 \u200fLovelace\u061c", "Ada Lovelace"),
        ("Ho\u200bst", "Host"),
        ("Ho\u200dst", "Host"),
        ("Ho\u2060s\ufefft\u00ad", "Host"),
        ("Ada\x00\x07\x1b[31m", "Ada[31m"),
        ("Ada\ud800\ue000\u0378", "Ada"),
        ("Zoe\u0308", "Zoë"),
        ("Zoe\u200b\u0308", "Zoë"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("Ada \U0001f469\u200d\U0001f52c", "Ada \U0001f469\u200d\U0001f52c"),
        ("\U0001f3f3\ufe0f\u200d\U0001f308", "\U0001f3f3\ufe0f\u200d\U0001f308"),
        ("\U0001f9d1\U0001f3fd\u200d\u2695\ufe0f", "\U0001f9d1\U0001f3fd\u200d\u2695\ufe0f"),
        ("Ada \u200d", "Ada"),
        ("\u200d Ada", "Ada"),
        ("李雷", "李雷"),
        ("O'Brien-Łukasz", "O'Brien-Łukasz"),
    ],
)
def test_s46_a_name_is_shown_without_what_could_deceive(given: str, shown: str):
    assert clean_name(given) == shown


@pytest.mark.parametrize(
    "text", ["", " ", "\n\t", "\u200d", "\u200b\u202e\ufeff", "\x00", "\u3164", "\u2800 \u115f", "\u034f", "\ufe00"]
)
def test_s46_a_name_of_nothing_visible_is_empty(text: str):
    assert clean_name(text) == ""


def test_s46_a_name_of_ten_kilobytes_is_cut():
    assert clean_name("x" * 10_000) == "x" * MAX_LENGTH
    assert clean_name("a " * 5_000) == ("a " * 50).strip()


def test_s46_an_emoji_that_is_cut_leaves_no_joiner_behind():
    assert clean_name("x" * 98 + "\U0001f469\u200d\U0001f52c") == "x" * 98 + "\U0001f469"


@given(st.text(max_size=150))
def test_s46_a_clean_name_is_clean_whatever_was_given(text: str):
    name = clean_name(text)
    assert len(name) <= MAX_LENGTH
    assert name == unicodedata.normalize("NFC", name) == name.strip()
    assert name.isprintable() or "\u200d" in name
    assert clean_name(name) == name


@pytest.mark.parametrize(
    "other",
    [
        "Hedy Host",
        "hedy host",
        "HEDY  HOST",
        "HedyHost",
        " H e d y Host ",
        "Hedy\u00a0Host",
        "Hedy\u3000Host",
        "Hedy\u200bHost",
        "\uff28edy Host",
        "\U0001d573edy Host",
        "Hedy Ho\ufb06",
        "\u202eHedy Host",
        "Hedy\u034f Host",
        "Hedy\u17b4 Host\ufe00",
        "Hedy Host\ufe0f",
        "Hedy\U000e0100 Host\u180b",
    ],
)
def test_s46_names_that_read_the_same_look_alike(other: str):
    assert look_alike("Hedy Host", other)


@pytest.mark.parametrize("other", ["Hedy Hosta", "Hedy", "Hedy Host 2", "Hédy Host", ""])
def test_other_names_do_not_look_alike(other: str):
    assert not look_alike("Hedy Host", other)


def test_letters_that_fold_into_several_look_like_those():
    assert look_alike("Groß", "GROSS")
    assert look_alike("Zoe\u0308", "ZOË")


def test_a_marked_name_is_no_longer_than_names_may_be():
    assert marked("Ada", "guest") == "Ada (guest)"
    assert marked("x" * 100, "guest") == "x" * 92 + " (guest)"
