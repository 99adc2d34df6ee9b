"""Requests in a closed loop, a few at a time: `python -m bench.rest_load PORT FILE SECONDS`.

FILE is a JSON list of {path, token}; each is posted once, with an empty body, in order. Says `begun` after the first
answer, and what came back as one line of JSON at the end, or when it is told to stop.
"""

import http.client
import json
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

AT_ONCE = 8


def post_all(port: int, wanted: list[dict[str, str]], until: float, stop: threading.Event) -> dict[str, Any]:
    """Post until the time is over, everything is posted, or somebody says stop."""
    queue = iter(wanted)
    lock = threading.Lock()
    seconds: list[float] = []
    statuses: Counter[int] = Counter()
    first = threading.Event()
    started = time.monotonic()

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        while time.monotonic() < until and not stop.is_set():
            with lock:
                one = next(queue, None)
            if one is None:
                break
            began = time.monotonic()
            headers = {"Authorization": f"Bearer {one['token']}", "Content-Type": "application/json"}
            connection.request("POST", one["path"], body="{}", headers=headers)
            answer = connection.getresponse()
            answer.read()
            with lock:
                seconds.append(time.monotonic() - began)
                statuses[answer.status] += 1
            if not first.is_set():
                first.set()
                print("begun", flush=True)
        connection.close()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds.sort()
    quantiles = {f"p{share}_ms": seconds[len(seconds) * share // 100] * 1000 for share in (50, 99) if seconds}
    return {"requests": len(seconds), "seconds": time.monotonic() - started, "statuses": statuses, **quantiles}


def main() -> None:
    """Run from the command line."""
    port, file, seconds = int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    print(json.dumps(post_all(port, json.loads(file.read_text()), time.monotonic() + seconds, stop)), flush=True)


if __name__ == "__main__":
    main()
