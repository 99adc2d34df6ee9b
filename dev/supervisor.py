"""Run several programs as one: their lines in one place, and when one ends all end, in order."""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dev.console import Console
from dev.guardian import Guardian
from dev.process import kill_session, spawn

KEPT_LINES = 15
STOP_SECONDS = 4.8
SAME_WISH_SECONDS = 0.5  # `timeout` and shells may deliver one wish to stop twice


class Interrupted(Exception):
    """Somebody asked us to stop."""


class ProgramEnded(Exception):
    """A program that should run has ended. The message says which, how, and its last lines."""

    def __init__(self, name: str, code: int, lines: Sequence[str]) -> None:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        last = "".join(f"\n    {line}" for line in lines) or " It said nothing."
        super().__init__(f"{name} {how}." + (f" Its last lines:{last}" if lines else last))


@dataclass(slots=True)
class Program:
    """One running program."""

    name: str
    process: "subprocess.Popen[bytes]"
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    unfinished: bytes = b""
    hidden: tuple[str, ...] = ()


class Supervisor:
    """Owns the programs. Single-threaded on purpose: the kernel ties a child's life to the thread that started it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._guardian = Guardian()
        self._programs: list[Program] = []
        self._selector = selectors.DefaultSelector()
        self._asked_at: float | None = None
        self._impatient = False

    def handle_signals(self) -> None:
        """Make Ctrl-C, SIGTERM and a closed terminal end the next `watch` with Interrupted; a later one kills."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask_to_stop)

    def start(self, name: str, command: Sequence[str], environ: Mapping[str, str]) -> Program:
        """Start a program; its output becomes our lines."""
        return self.adopt(name, spawn(command, output=subprocess.PIPE, env=dict(environ)))

    def adopt(self, name: str, process: "subprocess.Popen[bytes]", *, hidden: tuple[str, ...] = ()) -> Program:
        """Take over a spawned process whose stdout is a pipe. Lines that contain a text in `hidden` are not shown."""
        program = Program(name, process, hidden=hidden)
        self._programs.append(program)
        self._guardian.guard(process.pid)
        if process.stdout is not None:
            os.set_blocking(process.stdout.fileno(), False)
            self._selector.register(process.stdout, selectors.EVENT_READ, program)
        return program

    def run(self, name: str, command: Sequence[str], environ: Mapping[str, str]) -> None:
        """Run a program to its end. Raises ProgramEnded when it fails, Interrupted when we shall stop."""
        program = self.start(name, command, environ)
        while program.process.poll() is None:
            self._pump(0.02)
            self._raise_if_asked()
        self._forget(program)
        if program.process.returncode:
            raise ProgramEnded(name, program.process.returncode, program.lines)

    def watch(self, seconds: float) -> None:
        """Pass on lines for up to `seconds`. Raises ProgramEnded, or Interrupted."""
        self._pump(seconds)
        self._raise_if_asked()
        for program in self._programs:
            code = program.process.poll()
            if code is not None:
                self._forget(program)
                raise ProgramEnded(program.name, code, program.lines)

    def stop_all(self, within_seconds: float = STOP_SECONDS) -> None:
        """Stop what still runs, last started first, each after the one before has ended.

        Every program gets its share of the time and what others left of theirs; then it is killed. Nothing is left
        when this returns, grandchildren included.
        """
        begin = time.monotonic()
        ending = list(reversed(self._programs))
        for position, program in enumerate(ending, start=1):
            self._stop(program, deadline=begin + within_seconds * position / len(ending))
        self._guardian.dismiss()

    def _stop(self, program: Program, deadline: float) -> None:
        begin = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            program.process.terminate()
        while program.process.poll() is None and time.monotonic() < deadline:
            if self._impatient:
                break
            self._pump(0.02)
        in_time = program.process.poll() is not None
        kill_session(program.process)
        self._forget(program)
        how = "stopped" if in_time else "killed, it did not stop in time"
        self._console.say(program.name, f"{how} ({time.monotonic() - begin:.1f} s)")

    def _forget(self, program: Program) -> None:
        """Drop an ended program after passing on its last words, and end what it may have left behind."""
        self._read(program)
        if program.unfinished:
            self._say(program, program.unfinished)
        if program.process.stdout is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(program.process.stdout)
            program.process.stdout.close()
        kill_session(program.process)
        self._guardian.release(program.process.pid)
        self._programs.remove(program)

    def _pump(self, seconds: float) -> None:
        if not self._selector.get_map():
            time.sleep(seconds)
            return
        for key, _ in self._selector.select(seconds):
            self._read(key.data)

    def _read(self, program: Program) -> None:
        if program.process.stdout is None or program.process.stdout.closed:
            return
        try:
            while got := os.read(program.process.stdout.fileno(), 65536):
                *lines, program.unfinished = (program.unfinished + got).split(b"\n")
                for line in lines:
                    self._say(program, line)
        except BlockingIOError:
            return
        with contextlib.suppress(KeyError):  # end of file: nothing more will come
            self._selector.unregister(program.process.stdout)

    def _say(self, program: Program, raw: bytes) -> None:
        line = raw.decode(errors="replace").rstrip()
        if line and not any(text in line for text in program.hidden):
            program.lines.append(line)
            self._console.say(program.name, line)

    def _ask_to_stop(self, *_: object) -> None:
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
        elif now - self._asked_at > SAME_WISH_SECONDS:
            self._impatient = True

    def _raise_if_asked(self) -> None:
        if self._asked_at is not None:
            raise Interrupted
