"""The web processes: HTTP and WebSocket doors."""

__version__ = "0.1.0"
