"""A clock that tests move."""

from datetime import UTC, datetime, timedelta


class FakeClock:
    """Begins at the real time and stands still."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)

    def now(self) -> datetime:
        """Return the time."""
        return self._now

    def pass_(self, **length: float) -> datetime:
        """Let time pass, said as a timedelta: `clock.pass_(seconds=31)`. Returns the new time."""
        self._now += timedelta(**length)
        return self._now
