"""How much this process has counted."""

from prometheus_client import REGISTRY


def counted(series: str, **labels: str) -> float:
    """Return what a series stands at; 0 when it has not begun."""
    return REGISTRY.get_sample_value(series, labels) or 0.0
