"""Settings: what is read, and what must not go live (P24)."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from unittest.mock import patch

import pytest

from shared.core.settings import Settings, UnsafeSettings, default_of, environment_name, load

pytestmark = pytest.mark.once

PRODUCTION = {
    "SECRET_KEY": "Yk1vQ3pXb0p0R2hLd2VyUGxNbkJ2Q3h4",
    "JWT_SECRET_KEY": "cVdlUnR5VWlvUGFTZEZnSGpLbFp4Q3Z0",
    "DATABASE_URL": "postgresql+psycopg://parley:p@db/parley",
    "REDIS_URL": "redis://redis:6379/0",
    "PUBLIC_URL": "https://meet.example.com",
    "TRUSTED_PROXIES": "1",
    "ALLOWED_ORIGINS": "https://meet.example.com,https://app.example.com",
    "LIVEKIT_SERVER_URL": "wss://livekit.example.com",
    "LIVEKIT_API_KEY": "APIkey",
    "LIVEKIT_API_SECRET": "bGl2ZWtpdC1zZWNyZXQtb2YtMzItYnl0",
}

# what is wrong -> what the environment says, and the setting that must be named
UNSAFE: dict[str, tuple[dict[str, str], str]] = {
    "no secret": ({"SECRET_KEY": ""}, "SECRET_KEY"),
    "a short secret": ({"SECRET_KEY": "Yk1vQ3pXb0p0R2hLd2VyUGxNbkJ2Q3g"}, "SECRET_KEY"),
    "a default secret": ({"SECRET_KEY": "change-me-to-something-secret-and-long"}, "SECRET_KEY"),
    "a secret of one letter": ({"SECRET_KEY": "a" * 64}, "SECRET_KEY"),
    "no JWT secret": ({"JWT_SECRET_KEY": ""}, "JWT_SECRET_KEY"),
    "a short JWT secret": ({"JWT_SECRET_KEY": "abcdefgh"}, "JWT_SECRET_KEY"),
    "one secret for both": ({"JWT_SECRET_KEY": PRODUCTION["SECRET_KEY"]}, "JWT_SECRET_KEY"),
    "LiveKit's secret for JWTs": ({"JWT_SECRET_KEY": PRODUCTION["LIVEKIT_API_SECRET"]}, "JWT_SECRET_KEY"),
    "any origin": ({"ALLOWED_ORIGINS": "*"}, "ALLOWED_ORIGINS"),
    "any origin beside a right one": ({"ALLOWED_ORIGINS": "https://meet.example.com,*"}, "ALLOWED_ORIGINS"),
    "the null origin": ({"ALLOWED_ORIGINS": "null"}, "ALLOWED_ORIGINS"),
    "an origin without TLS": ({"ALLOWED_ORIGINS": "http://meet.example.com"}, "ALLOWED_ORIGINS"),
    "debugging": ({"DEBUG": "true"}, "DEBUG"),
    "SQLite": ({"DATABASE_URL": "sqlite:///var/parley.db"}, "DATABASE_URL"),
    "no TLS": ({"PUBLIC_URL": "http://meet.example.com"}, "PUBLIC_URL"),
    "no proxy to be trusted": ({"TRUSTED_PROXIES": "0"}, "TRUSTED_PROXIES"),
    "a short LiveKit secret": ({"LIVEKIT_API_SECRET": "secret"}, "LIVEKIT_API_SECRET"),
    "half of LiveKit": ({"LIVEKIT_API_KEY": ""}, "LIVEKIT_SERVER_URL"),
    "media tokens that live long": ({"LIVEKIT_TOKEN_TTL": "601"}, "LIVEKIT_TOKEN_TTL"),
    "media tokens that do not live": ({"LIVEKIT_TOKEN_TTL": "0"}, "LIVEKIT_TOKEN_TTL"),
    "access tokens that live long": ({"ACCESS_TOKEN_TTL": "86401"}, "ACCESS_TOKEN_TTL"),
    "no request at all": ({"HTTP_MAX_IN_FLIGHT": "0"}, "HTTP_MAX_IN_FLIGHT"),
    "an archive that nobody can write to": ({"ARCHIVE_URL": "https://archive.example.com"}, "ARCHIVE_URL"),
    "a server of wake-ups that is no Redis": ({"WAKEUP_URLS": "redis://one:6379/0,two:6379"}, "WAKEUP_URLS"),
    "an archive in memory": ({"ARCHIVE_URL": "memory:///"}, "ARCHIVE_URL"),
    "events that go with their meeting": ({"LEDGER_HOT_DAYS": "0"}, "LEDGER_HOT_DAYS"),
    "no rate limits": ({"RATELIMIT_ENABLED": "false"}, "RATELIMIT_ENABLED"),
    "a rate limit that nobody can read": ({"RATELIMIT_LOGIN": "ten a minute"}, "RATELIMIT_LOGIN"),
    "an unknown environment": ({"PARLEY_ENV": "staging"}, "PARLEY_ENV"),
    "a number that is none": ({"TRUSTED_PROXIES": "one"}, "TRUSTED_PROXIES"),
    "a truth that is none": ({"RATELIMIT_ENABLED": "maybe"}, "RATELIMIT_ENABLED"),
}


@pytest.fixture(autouse=True)
def _empty_environment() -> Iterator[None]:
    """Nothing of this process's environment, and none of what a test puts there."""
    with patch.dict(os.environ, clear=True):
        yield


def loaded(tmp_path: Path, **environ: str) -> Settings:
    os.environ.update(environ)
    return load(tmp_path)


def test_a_safe_production_is_loaded_as_it_is_said(tmp_path: Path):
    found = loaded(tmp_path, **PRODUCTION)
    assert found.is_production
    assert found.has_livekit
    assert found.allowed_origins == ["https://meet.example.com", "https://app.example.com"]
    assert (found.trusted_proxies, found.ratelimit_enabled) == (1, True)


@pytest.mark.parametrize(("environ", "name"), UNSAFE.values(), ids=UNSAFE.keys())
def test_p24_an_unsafe_production_is_refused_by_the_name_of_the_setting(
    tmp_path: Path, environ: dict[str, str], name: str
):
    with pytest.raises(UnsafeSettings, match=rf"\b{name}: ") as refused:
        loaded(tmp_path, **PRODUCTION | environ)
    assert list(refused.value.problems) == [name]


def test_p24_all_that_is_wrong_is_said_at_once(tmp_path: Path):
    with pytest.raises(UnsafeSettings) as refused:
        loaded(tmp_path)
    assert set(refused.value.problems) >= {"SECRET_KEY", "JWT_SECRET_KEY", "DATABASE_URL", "PUBLIC_URL"}


def test_p24_a_refusal_does_not_tell_the_secret(tmp_path: Path):
    with pytest.raises(UnsafeSettings) as refused:
        loaded(tmp_path, **PRODUCTION | {"SECRET_KEY": "canary-change"})
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("name", ["wsgi", "celery_app"])
def test_p24_a_process_with_an_unsafe_setting_does_not_start(name: str, project: Path):
    def start(**environ: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", f"import {name}"],
            cwd=project,
            env={"PATH": "/usr/bin:/bin", **PRODUCTION, **environ},
            capture_output=True,
            text=True,
            check=False,
        )

    refused = start(DEBUG="true")
    assert refused.returncode != 0
    assert "DEBUG: must be off in production" in refused.stderr
    assert start().returncode == 0, "a safe one does not start either"


def test_development_is_less_strict_and_keeps_its_own_secrets(tmp_path: Path):
    first = loaded(tmp_path, PARLEY_ENV="development", DEBUG="true")
    kept = tmp_path / "var" / "secrets.env"
    assert first.debug
    assert not first.is_production
    assert kept.stat().st_mode & 0o777 == 0o600
    assert len(first.secret_key) >= 32
    assert first.secret_key != first.jwt_secret_key
    os.environ.clear()
    assert loaded(tmp_path, PARLEY_ENV="development") == Settings(
        env="development", secret_key=first.secret_key, jwt_secret_key=first.jwt_secret_key
    )


def test_what_is_unsafe_anywhere_is_refused_in_development_too(tmp_path: Path):
    with pytest.raises(UnsafeSettings, match="ALLOWED_ORIGINS"):
        loaded(tmp_path, PARLEY_ENV="development", ALLOWED_ORIGINS="*")


def test_production_makes_no_secrets_of_its_own(tmp_path: Path):
    loaded(tmp_path, **PRODUCTION)
    assert not (tmp_path / "var").exists()


def test_a_secret_may_lie_in_a_file(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("RnJvbUFGaWxlVGhhdElzTW91bnRlZEluQ29udGFpbmVy\n")
    without = {name: value for name, value in PRODUCTION.items() if name != "SECRET_KEY"}
    assert loaded(tmp_path, **without, SECRET_KEY_FILE=str(secret)).secret_key == secret.read_text().strip()


def test_p24_a_secret_whose_file_is_missing_is_named(tmp_path: Path):
    with pytest.raises(UnsafeSettings, match="SECRET_KEY: cannot be read"):
        loaded(tmp_path, **PRODUCTION, SECRET_KEY_FILE=str(tmp_path / "nowhere"))


def test_the_file_env_is_read_and_the_environment_wins(tmp_path: Path):
    (tmp_path / ".env").write_text("PARLEY_ENV=test\nACCESS_TOKEN_TTL=60\nREFRESH_TOKEN_TTL=120\n")
    found = loaded(tmp_path, ACCESS_TOKEN_TTL="90")
    assert (found.env, found.access_token_ttl, found.refresh_token_ttl) == ("test", 90, 120)


def test_every_kind_of_value_is_read(tmp_path: Path):
    found = loaded(tmp_path, PARLEY_ENV="test", HEARTBEAT_INTERVAL="1.5", WS_MAX_CONNECTIONS="7", LOG_LEVEL="DEBUG")
    assert (found.heartbeat_interval, found.ws_max_connections, found.log_level) == (1.5, 7, "DEBUG")


def test_settings_have_a_name_each_and_defaults_that_are_not_shared():
    names = [environment_name(each) for each in fields(Settings)]
    assert len(names) == len(set(names))
    origins = next(each for each in fields(Settings) if each.name == "allowed_origins")
    assert default_of(origins) == []
    assert default_of(origins) is not default_of(origins)
    assert default_of(next(each for each in fields(Settings) if each.name == "env")) == "production"
    assert all(each.metadata["meaning"].endswith(".") for each in fields(Settings))


def test_livekit_is_there_when_it_is_all_there():
    assert not Settings().has_livekit
    assert not Settings(livekit_url="wss://x", livekit_api_key="k").has_livekit
    assert Settings(livekit_url="wss://x", livekit_api_key="k", livekit_api_secret="s").has_livekit
