"""What is installed is decided here and not on the day of the installation (S133)."""

import re
from importlib.metadata import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.once

FILES = {"requirements.txt": 30, "tests/requirements.txt": 30, "dev/requirements.txt": 5}  # and how many at least
# What a product under Apache-2.0, MIT or BSD may bring along; the weak copylefts only as a library that stays apart.
ALLOWED = re.compile(
    r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|Mozilla Public License 2|MPL-2\.0|Public Domain|Unlicense|0BSD"
    r"|LGPL|Lesser General Public|Zope|ZPL|CNRI",
    re.IGNORECASE,
)


def requirements(path: Path) -> list[Requirement]:
    """Return the packages of a file, each with the line that names it understood."""
    lines = (line.split("#")[0].strip().removesuffix("\\").strip() for line in path.read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith(("-r", "-c", "--hash"))]


@pytest.mark.parametrize("name", FILES)
def test_s133_every_package_is_pinned_to_one_version_from_the_index(project: Path, name: str) -> None:
    found = requirements(project / name)
    assert len(found) > FILES[name]
    for one in found:
        (pin,) = one.specifier
        assert (pin.operator, "*" in pin.version, one.url) == ("==", False, None), one


def test_s133_what_is_wanted_is_among_what_is_pinned(project: Path) -> None:
    pinned = {one.name for one in requirements(project / "requirements.txt")}
    wanted = {one.name.lower() for one in requirements(project / "requirements.in")}
    assert wanted
    assert wanted <= pinned


def test_s133_every_package_of_the_product_has_a_licence_that_lets_it_be_shipped(project: Path) -> None:
    installed = [
        one for one in requirements(project / "requirements.txt") if one.marker is None or one.marker.evaluate()
    ]
    licences = {one.name: _licence(one.name) for one in installed}
    assert {name: text for name, text in licences.items() if not ALLOWED.search(text)} == {}


def _licence(name: str) -> str:
    about = metadata(name)
    classifiers = [text for text in about.get_all("Classifier", []) if text.startswith("License ::")]
    return " ".join([*about.get_all("License-Expression", []), *about.get_all("License", []), *classifiers])


def test_s133_the_extra_for_traces_is_pinned_too_and_agrees_with_the_product(project: Path) -> None:
    extra = {one.name: one.specifier for one in requirements(project / "requirements-otel.txt")}
    product = {one.name: one.specifier for one in requirements(project / "requirements.txt")}
    wanted = {one.name for one in requirements(project / "requirements-otel.in")}
    assert wanted <= extra.keys()
    assert all([pin.operator for pin in pins] == ["=="] for pins in extra.values())
    assert {name: pins for name, pins in extra.items() if product.get(name, pins) != pins} == {}
    assert not wanted & product.keys()
