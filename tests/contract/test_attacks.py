"""docs/security.md says which attack is tried by which tests: it names none that is not there, and leaves none out."""

import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "security.md").read_text()
# Tokens to races, content, limits to supply; sockets, files and webhooks are numbered between them.
NUMBERS = {f"S{number}" for number in (*range(1, 63), "32b", "33b", *range(86, 97), *range(116, 139))}
ROWS = re.findall(r"^\| (S\d+b?) \| .+ \| (.+) \|$", PAGE, re.MULTILINE)


def numbers_in(test_name: str) -> set[str]:
    """Return the attacks that a test's name begins with: `test_p5_s49_…` and `test_s02_s03_…` are of S49, S2 and S3."""
    beginning = re.match(r"test_(?:p\d+_)*((?:s\d+b?_)+)", test_name)
    return {f"S{number}" for number in re.findall(r"s0*(\d+b?)_", beginning[1])} if beginning else set()


@pytest.fixture(scope="module")
def tried() -> dict[str, set[str]]:
    """In which files each attack is tried."""
    files: defaultdict[str, set[str]] = defaultdict(set)
    for file in TESTS.rglob("test_*.py"):
        for name in re.findall(r"^ *def (test_\w+)", file.read_text(), re.MULTILINE):
            for number in numbers_in(name):
                files[number].add(file.relative_to(TESTS).as_posix())
    return files


def test_a_name_says_of_which_attacks_its_test_is() -> None:
    assert numbers_in("test_p5_s49_of_200_joins") == {"S49"}
    assert numbers_in("test_s02_s32b_a_token_of_s4_is_none") == {"S2", "S32b"}
    assert numbers_in("test_somebody_has_s_3_eyes") == set()


def test_every_attack_is_told_of_once() -> None:
    untried = PAGE.split("### Without a test")[1].split("\n#")[0]
    told = Counter([number for number, _ in ROWS] + re.findall(r"S\d+b?\b", untried))
    assert {number: times for number, times in told.items() if times > 1} == {}
    assert set(told) == NUMBERS


@pytest.mark.parametrize(("number", "files"), ROWS, ids=[number for number, _ in ROWS])
def test_an_attack_is_tried_in_each_file_that_is_named(number: str, files: str, tried: dict[str, set[str]]) -> None:
    named = set(re.findall(r"`([^`]+)`", files))
    assert named
    assert named - tried[number] == set()
