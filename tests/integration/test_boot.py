"""Unsafe settings do not go live: web, worker, beat and command line end at once and name what is wrong (P24)."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

SAFE = {
    "PARLEY_ENV": "production",
    "SECRET_KEY": "qL8mT0vX3bN5zR7cJ1wY4hK6dS9fG2pA-secret",
    "JWT_SECRET_KEY": "aZ1sX2dC3fV4gB5hN6jM7kL8pQ9wE0rT-tokens",
    "DATABASE_URL": "postgresql+psycopg://parley:hunter2hunter2@127.0.0.1:1/parley",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "PUBLIC_URL": "https://meet.example.com",
    "TRUSTED_PROXIES": "1",
}
COMMANDS = {
    "web": ["-m", "gunicorn", "-b", "127.0.0.1:0", "--no-control-socket", "wsgi:app"],
    "worker": ["-m", "celery", "-q", "-A", "celery_app", "worker"],
    "beat": ["-m", "celery", "-q", "-A", "celery_app", "beat"],
    "flask": ["-m", "flask", "--app", "wsgi", "parley", "doctor"],
}
IMPORT = ["-c", "import wsgi"]


def start(project: Path, command: list[str], **wrong: str) -> tuple[int, str]:
    """Run to the end; return exit code and everything that was said."""
    environ = {name: value for name, value in {**SAFE, **wrong}.items() if value}
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env={"PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


def test_safe_settings_go_live(project: Path) -> None:
    assert start(project, IMPORT) == (0, "")


@pytest.mark.parametrize("program", COMMANDS)
def test_every_program_refuses_and_names_the_settings(project: Path, program: str) -> None:
    code, said = start(project, COMMANDS[program], SECRET_KEY="too short", DATABASE_URL="sqlite:///var/parley.db")

    assert code != 0
    assert "refusing to start with unsafe settings" in said
    assert "SECRET_KEY" in said
    assert "DATABASE_URL" in said
    assert "JWT_SECRET_KEY" not in said
    assert "too short" not in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", ""),
        ("SECRET_KEY", "change-me-change-me-change-me-change-me"),
        ("JWT_SECRET_KEY", "short"),
        ("JWT_SECRET_KEY", SAFE["SECRET_KEY"]),
        ("DEBUG", "true"),
        ("ALLOWED_ORIGINS", "*"),
        ("TRUSTED_PROXIES", "0"),
        ("PUBLIC_URL", "http://meet.example.com"),
        ("RATELIMIT_ENABLED", "false"),
        ("ACCESS_TOKEN_TTL", "a day"),
        ("PARLEY_ENV", "staging"),
    ],
)
def test_each_unsafe_setting_alone_is_enough(project: Path, name: str, value: str) -> None:
    """All others and their texts: tests of shared.core.settings. Here it is the process that must not live."""
    code, said = start(project, IMPORT, **{name: value})

    assert code != 0
    assert f"  {name}: " in said
