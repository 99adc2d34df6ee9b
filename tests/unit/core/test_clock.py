"""The machine's clock."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.core.clock import SystemClock

pytestmark = pytest.mark.once


def test_the_system_clock_tells_aware_times_in_utc() -> None:
    before = datetime.now(UTC)
    told = SystemClock().now()

    assert told.utcoffset() == timedelta(0)
    assert before <= told <= datetime.now(UTC)
