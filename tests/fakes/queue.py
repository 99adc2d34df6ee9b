"""A road to Celery that leads nowhere: it notes what was sent, and can be closed."""

from collections.abc import Sequence

from shared.core.outbox import Errand


class FakeQueue:
    """Same methods as shared.core.queue.TaskQueue."""

    def __init__(self) -> None:
        self.dispatched: list[Errand] = []
        self.sent: list[Errand] = []
        self.healthy = True
        self.mark = True

    def dispatch(self, errands: Sequence[Errand]) -> None:
        """Note what a transaction hands over."""
        self.dispatched.extend(errands)

    def has_forgotten(self) -> bool:
        """Tell whether the mark is gone. Raises ConnectionError when the road is closed."""
        if not self.healthy:
            raise ConnectionError("the broker does not answer")
        return not self.mark

    def remember(self) -> None:
        """Leave the mark."""
        self.mark = True

    def send(self, errand: Errand) -> None:
        """Note what the relay sends. Raises ConnectionError when the road is closed."""
        if not self.healthy:
            raise ConnectionError("the broker does not answer")
        self.sent.append(errand)
