"""Ask `/readyz` until it says yes, and remember what it said last."""

import json
import threading
import time
import urllib.error
import urllib.request

PAUSE_SECONDS = 0.1
ANSWER_SECONDS = 3.0


class ReadinessProbe:
    """Asks in a thread of its own, so that a slow answer holds up nobody's log lines."""

    def __init__(self, base_url: str) -> None:
        self._url = f"{base_url}/readyz"
        self._ready = threading.Event()
        self.problem = "web does not answer"

    @property
    def ready(self) -> bool:
        """Tell whether everything has answered once."""
        return self._ready.is_set()

    def start(self) -> None:
        """Begin to ask. Start all programs first: after this the process has threads."""
        threading.Thread(target=self._ask_until_ready, name="readiness", daemon=True).start()

    def _ask_until_ready(self) -> None:
        while not self._ready.is_set():
            try:
                with urllib.request.urlopen(self._url, timeout=ANSWER_SECONDS):  # noqa: S310  our own http:// URL
                    self._ready.set()
            except urllib.error.HTTPError as refused:
                with refused:
                    self.problem = _problem_in(refused.code, refused.read())
            except OSError as broken:
                self.problem = f"web does not answer on {self._url} ({getattr(broken, 'reason', broken)})"
            time.sleep(PAUSE_SECONDS)


def _problem_in(status: int, body: bytes) -> str:
    """Return what the answer says is missing: the envelope's message, or the status when there is none."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return f"/readyz answers {status}"
