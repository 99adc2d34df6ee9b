"""What fault tests stand on: one site for all of them, repaired before each test, and a place for their figures."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from shared.runtime import Runtime, build_runtime
from tests.faults.drill import Drill
from tests.faults.people import People
from tests.faults.report import Figures
from tests.faults.site import Site
from web.app import create_app


@pytest.fixture(scope="package")
def whole_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site, started once."""
    with Site(
        tmp_path_factory.mktemp("site"), worker_app="tests.faults.poisoned", webhook_allow_private=True
    ) as running:
        yield running


@pytest.fixture
def site(whole_site: Site) -> Iterator[Site]:
    """The site, with everything in order; put in order again afterwards, so that the next one finds it calm."""
    whole_site.repair()
    yield whole_site
    whole_site.repair()


@pytest.fixture(scope="package")
def site_runtime(whole_site: Site) -> Iterator[Runtime]:
    """The product's runtime on the site's servers, past all proxies."""
    built = build_runtime(replace(whole_site.settings))
    yield built
    built.database.dispose()


@pytest.fixture(scope="package")
def people(site_runtime: Runtime) -> People:
    """Makes people and meetings."""
    return People(create_app(site_runtime), site_runtime)


@pytest.fixture
def drill(site: Site, people: People) -> Callable[..., Drill]:
    """Makes a drill on the site: `with drill(clients=20) as running:`."""

    def make(**options: int) -> Drill:
        return Drill(site, people, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Takes what a test measured."""
    return Figures(request.node.nodeid)
