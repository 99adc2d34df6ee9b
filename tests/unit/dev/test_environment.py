"""What the launcher gives to its children."""

import stat
from pathlib import Path

from dev.environment import development_environment, kept_secrets, read_env_file


def test_an_env_file_gives_plain_values_and_ignores_the_rest(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# a comment\n\nPORT=9000  # why\nexport NAME='two words'\nURL=a=b#c\nEMPTY=\nnonsense\n")
    assert read_env_file(path) == {"PORT": "9000", "NAME": "two words", "URL": "a=b#c"}


def test_the_environment_wins_over_the_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=9000\nHOST=0.0.0.0\n")
    environ = development_environment(tmp_path, {"PORT": "9001", "HOST": ""})
    assert (environ["HOST"], environ["PORT"]) == ("0.0.0.0", "9001")
    assert environ["PUBLIC_URL"] == "http://127.0.0.1:9001"


def test_defaults_are_those_of_development_and_no_redis(tmp_path: Path) -> None:
    environ = development_environment(tmp_path, {})
    assert environ["PARLEY_ENV"] == "development"
    assert environ["DATABASE_URL"] == "sqlite:///var/parley.db"
    assert "REDIS_URL" not in environ


def test_secrets_are_random_kept_and_private(tmp_path: Path) -> None:
    path = tmp_path / "var" / "secrets.env"
    first = kept_secrets(path)
    assert kept_secrets(path) == first
    assert len(set(first.values())) == 2
    assert all(len(secret) >= 32 for secret in first.values())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_given_secrets_are_used_and_none_are_made(tmp_path: Path) -> None:
    given = {"SECRET_KEY": "a" * 32, "JWT_SECRET_KEY": "b" * 32}
    assert development_environment(tmp_path, given)["SECRET_KEY"] == "a" * 32
    assert not (tmp_path / "var").exists()
