"""What is counted of a request."""

import pytest

from tests.factories.world import World

pytestmark = pytest.mark.once


def test_a_method_that_somebody_made_up_is_no_label(world: World) -> None:
    client = world.app.test_client()
    for number in range(3):
        assert client.open("/nothing", method=f"MADEUP{number}").status_code in (404, 405)
    page = client.get("/metrics").get_data(as_text=True)
    assert "MADEUP" not in page
    assert 'parley_requests_total{method="other",route="unknown"' in page
