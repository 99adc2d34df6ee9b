"""What the pages tell people to type works, and what they point at is there."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from dev.process import free_port
from tests.stack import Stack

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [PROJECT / "README.md", *sorted(PROJECT.glob("docs/**/*.md")), *sorted(PROJECT.glob("*.md"))]


def blocks(page: str, language: str) -> list[str]:
    text = (PROJECT / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def fresh_copy(folder: Path) -> Path:
    """A copy of the project's files, with the environment that is there already: nothing is installed again."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name)
    (folder / ".venv").symlink_to(PROJECT / ".venv")
    return folder


@pytest.mark.once
@pytest.mark.timeout(150)
def test_the_two_commands_of_the_readme_run_a_meeting(tmp_path: Path) -> None:
    run, demo = (line.partition("#")[0].split() for line in blocks("README.md", "")[0].splitlines())
    copy = fresh_copy(tmp_path / "copy")
    home = tmp_path / "home"
    home.mkdir()
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "PORT": str(free_port())}
    printed = tmp_path / "run.txt"
    with printed.open("wb") as out:
        server = subprocess.Popen(
            run, cwd=copy, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    try:
        until = time.monotonic() + 60
        while "READY" not in printed.read_text():
            assert server.poll() is None, printed.read_text()
            assert time.monotonic() < until, printed.read_text()
            time.sleep(0.1)
        played = subprocess.run(demo, cwd=copy, env=environ, capture_output=True, text=True, timeout=60, check=False)
        assert played.returncode == 0, played.stdout + played.stderr
        assert "Everything was as the contract says." in played.stdout
        os.killpg(server.pid, signal.SIGINT)
        assert server.wait(15) in (0, 2, -signal.SIGINT), printed.read_text()  # what `make` makes of it
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
    assert "all stopped" in printed.read_text()
    assert "Traceback" not in printed.read_text()


def test_the_calls_of_the_tutorial_work(stack: Stack, tmp_path: Path) -> None:
    script = "\n".join(blocks("docs/tutorial.md", "sh"))
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "API": f"{stack.url}/api/v1"}
    done = subprocess.run(
        ["bash", "-euc", script], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"status":"error"' not in done.stdout
    for told in ("Meeting started.", "You are in.", '"content":"Hello"', '"ticket":', "Meeting ended."):
        assert told in done.stdout


@pytest.mark.once
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [t for t in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if "://" not in t]
    missing = [t for t in targets if not (page.parent / t).exists()]
    assert not missing
