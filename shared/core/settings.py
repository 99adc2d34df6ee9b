"""Settings: every environment name, declared once with its type, default and meaning.

`docs/reference/settings.md` and `.env.example` are generated from this file. Nothing else reads the environment.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, get_origin

from environs import FileAwareEnv
from limits import parse

MIN_SECRET_BYTES = 32


class UnsafeSettings(Exception):
    """The configuration must not go live. `problems` maps the name of a setting to what is wrong with it."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        lines = "\n".join(f"  {name}: {why}" for name, why in self.problems.items())
        super().__init__(f"refusing to start with unsafe settings:\n{lines}")


def setting(name: str, default: Any, meaning: str, *, secret: bool = False) -> Any:
    """Declare one setting: its environment name, default and one sentence for the reference page."""
    metadata = {"name": name, "meaning": meaning, "secret": secret}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one process; immutable."""

    env: str = setting("PARLEY_ENV", "production", "`production`, `development` or `test`; only production is strict.")
    debug: bool = setting("DEBUG", False, "Verbose errors in the log. Refused in production.")
    secret_key: str = setting("SECRET_KEY", "", "Key for stored answers, passcodes and cursors.", secret=True)
    jwt_secret_key: str = setting("JWT_SECRET_KEY", "", "Key that signs access tokens.", secret=True)
    access_token_ttl: int = setting("ACCESS_TOKEN_TTL", 900, "Seconds an access token lives.")
    refresh_token_ttl: int = setting("REFRESH_TOKEN_TTL", 2_592_000, "Seconds a session lives without a refresh.")
    guest_token_ttl: int = setting("GUEST_TOKEN_TTL", 43_200, "Seconds a guest's token lives.")
    database_url: str = setting(
        "DATABASE_URL", "sqlite:///var/parley.db", "SQLAlchemy URL; SQLite or PostgreSQL (psycopg).", secret=True
    )
    redis_url: str = setting("REDIS_URL", "redis://127.0.0.1:6379/0", "Broker and wake-ups.", secret=True)
    wakeup_urls: list[str] = setting(
        "WAKEUP_URLS",
        [],
        "Comma-separated Redis servers that share the wake-ups, each those of some meetings. Empty: `REDIS_URL`.",
        secret=True,
    )
    base_url: str = setting("PUBLIC_URL", "http://127.0.0.1:8000", "Where people reach the product; used in links.")
    allowed_origins: list[str] = setting(
        "ALLOWED_ORIGINS", [], "Comma-separated browser origins, exact; for CORS and WebSockets."
    )
    trusted_proxies: int = setting("TRUSTED_PROXIES", 0, "How many proxies in front set X-Forwarded-For and -Proto.")
    ratelimit_enabled: bool = setting("RATELIMIT_ENABLED", True, "Rate limits on or off (off for load tests).")
    ratelimit_meetings: str = setting("RATELIMIT_MEETINGS", "100/hour", "Meeting management, per person.")
    ratelimit_participants: str = setting("RATELIMIT_PARTICIPANTS", "1000/hour", "Participant actions, per person.")
    ratelimit_status: str = setting("RATELIMIT_STATUS", "120/minute", "Status updates, per person.")
    ratelimit_chat: str = setting("RATELIMIT_CHAT", "60/minute", "Chat messages over both doors, per person.")
    ratelimit_login: str = setting("RATELIMIT_LOGIN", "10/minute", "Logins, per address and per account.")
    ratelimit_register: str = setting("RATELIMIT_REGISTER", "5000/hour", "New accounts, per address.")
    ratelimit_reads: str = setting("RATELIMIT_READS", "3000/minute", "Reads, per person.")
    ratelimit_card: str = setting("RATELIMIT_CARD", "600/minute", "Join page cards, per person or address.")
    ratelimit_misses: str = setting(
        "RATELIMIT_MISSES", "10/30minute", "Joins and cards of meetings that do not exist, per person or address."
    )
    ratelimit_passcode: str = setting(
        "RATELIMIT_PASSCODE",
        "10/15minute",
        "Wrong passcodes in one meeting, per person or address. Holds also with RATELIMIT_ENABLED=false.",
    )
    ratelimit_passcode_address: str = setting(
        "RATELIMIT_PASSCODE_ADDRESS",
        "100/15minute",
        "Wrong passcodes in one meeting from one address, of strangers. Holds also with RATELIMIT_ENABLED=false.",
    )
    ratelimit_websocket: int = setting("RATELIMIT_WEBSOCKET", 1000, "Frames a minute from one connection.")
    meeting_max_participants: int = setting("MEETING_MAX_PARTICIPANTS", 100, "Default of a policy's max_participants.")
    meeting_default_duration: int = setting("MEETING_DEFAULT_DURATION", 3600, "Seconds, when no end is scheduled.")
    meeting_cache_ttl: int = setting("MEETING_CACHE_TTL", 900, "Seconds a prewarmed meeting stays in the cache.")
    livekit_url: str = setting("LIVEKIT_SERVER_URL", "", "LiveKit server, ws:// or wss://; empty: no media tokens.")
    livekit_api_key: str = setting("LIVEKIT_API_KEY", "", "LiveKit API key.")
    livekit_api_secret: str = setting("LIVEKIT_API_SECRET", "", "LiveKit API secret.", secret=True)
    livekit_token_ttl: int = setting("LIVEKIT_TOKEN_TTL", 600, "Seconds a media token lives, 600 at most.")
    webhook_allow_private: bool = setting(
        "WEBHOOK_ALLOW_PRIVATE", False, "Let webhooks lead to private addresses and to this machine."
    )
    http_max_in_flight: int = setting(
        "HTTP_MAX_IN_FLIGHT", 8, "Requests one process works on at once; half of them for one meeting at most."
    )
    http_max_waiting: int = setting(
        "HTTP_MAX_WAITING", 512, "Requests that wait to be worked on; the rest are answered 503."
    )
    ws_max_connections: int = setting("WS_MAX_CONNECTIONS", 9000, "Open WebSockets one process accepts.")
    ws_max_per_person: int = setting("WS_MAX_PER_PERSON", 5, "Open WebSockets of one person in a meeting.")
    ws_max_per_address: int = setting("WS_MAX_PER_ADDRESS", 2000, "Open WebSockets from one address, per process.")
    heartbeat_interval: float = setting("HEARTBEAT_INTERVAL", 12.0, "Seconds between server pings.")
    heartbeat_timeout: float = setting("HEARTBEAT_TIMEOUT", 25.0, "Seconds of silence after which a socket is stale.")
    presence_grace: float = setting("PRESENCE_GRACE", 30.0, "Seconds a person without a connection keeps the seat.")
    archive_url: str = setting(
        "ARCHIVE_URL",
        "",
        "Where events of meetings that are long over are moved: a directory, or s3://, gs://, az:// with bucket and "
        "prefix; empty: they stay in the database.",
    )
    ledger_hot_days: int = setting(
        "LEDGER_HOT_DAYS", 30, "Days that events stay in the database after their meeting has ended, 1 or more."
    )
    worker_metrics_port: int = setting(
        "WORKER_METRICS_PORT", 0, "Where a worker serves its metrics over HTTP, for the inside network; 0: nowhere."
    )
    worker_metrics_host: str = setting("WORKER_METRICS_HOST", "127.0.0.1", "The address it listens on for that.")
    otel_endpoint: str = setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "",
        "Where traces go, over OTLP/HTTP, such as http://collector:4318; empty: nowhere. Needs requirements-otel.txt.",
    )
    log_level: str = setting("LOG_LEVEL", "INFO", "DEBUG, INFO, WARNING or ERROR.")

    @property
    def is_production(self) -> bool:
        """Tell whether the strict rules apply."""
        return self.env == "production"

    @property
    def wakeup_servers(self) -> list[str]:
        """Return the Redis servers that carry wake-ups."""
        return self.wakeup_urls or [self.redis_url]

    @property
    def has_livekit(self) -> bool:
        """Tell whether media tokens can be made."""
        return bool(self.livekit_url and self.livekit_api_key and self.livekit_api_secret)


def environment_name(of: "Field[Any]") -> str:
    """Return the environment name of a field of Settings."""
    return str(of.metadata["name"])


def default_of(of: "Field[Any]") -> Any:
    """Return the default of a field of Settings."""
    if of.default_factory is not MISSING:
        return of.default_factory()
    return of.default


def load(root: Path) -> Settings:
    """Read the settings from the environment; `NAME_FILE` may name a file that holds the value (container secrets).

    Falls back to `.env` in `root`, the project's folder, and in development to secrets kept under `var/`.
    Raises UnsafeSettings with every setting that must not go live.
    """
    env = FileAwareEnv(expand_vars=False, strip_whitespace=True)  # files of secrets end with a newline
    env.read_env(str(root / ".env"), recurse=False)
    if env.str("PARLEY_ENV", "production") != "production":
        _keep_development_secrets(root / "var" / "secrets.env")
        env.read_env(str(root / "var" / "secrets.env"), recurse=False)
    settings = _parse(env)
    problems = _problems(settings)
    if problems:
        raise UnsafeSettings(problems)
    return settings


def _parse(env: FileAwareEnv) -> Settings:
    read: dict[Any, Callable[[str], Any]] = {bool: env.bool, int: env.int, float: env.float, str: env.str}
    given: dict[str, Any] = {}
    for each in fields(Settings):
        name = environment_name(each)
        try:
            if env.str(name, ""):
                given[each.name] = env.list(name) if get_origin(each.type) is list else read[each.type](name)
        except ValueError as broken:
            raise UnsafeSettings({name: f"cannot be read: {broken}"}) from None
    return Settings(**given)


def _problems(s: Settings) -> dict[str, str]:
    """Return what must not go live, by name of the setting (promises P24)."""
    found: dict[str, str] = {}
    if s.env not in {"production", "development", "test"}:
        found["PARLEY_ENV"] = "must be production, development or test"
    if s.jwt_secret_key and s.jwt_secret_key in {s.secret_key, s.livekit_api_secret}:
        found["JWT_SECRET_KEY"] = "must differ from SECRET_KEY and LIVEKIT_API_SECRET"
    if not 1 <= s.livekit_token_ttl <= 600:
        found["LIVEKIT_TOKEN_TTL"] = "must be between 1 and 600 seconds"
    if s.http_max_in_flight < 1:
        found["HTTP_MAX_IN_FLIGHT"] = "must be 1 or more, or nobody is ever let in"
    if any(given := [x for x in (s.livekit_url, s.livekit_api_key, s.livekit_api_secret) if x]) and len(given) < 3:
        found["LIVEKIT_SERVER_URL"] = "set LIVEKIT_SERVER_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or none of them"
    if any(origin == "*" or not origin.startswith(("http://", "https://")) for origin in s.allowed_origins):
        found["ALLOWED_ORIGINS"] = "must list exact origins such as https://meet.example.com; * is not one"
    if s.ledger_hot_days < 1:
        found["LEDGER_HOT_DAYS"] = "must be 1 or more: clients and webhooks may come back for a day"
    if "://" in s.archive_url and not s.archive_url.startswith(("file:///", "s3://", "gs://", "az://")):
        found["ARCHIVE_URL"] = "must be a directory, or begin with file:///, s3://, gs:// or az://"
    if any(not url.startswith(("redis://", "rediss://", "unix://")) for url in s.wakeup_urls):
        found["WAKEUP_URLS"] = "must be URLs of Redis servers, as REDIS_URL is"
    found.update(_unreadable_limits(s))
    if s.is_production:
        found.update(_production_problems(s))
    return found


def _unreadable_limits(s: Settings) -> dict[str, str]:
    """Return the rate limits that nobody could apply: the limiter would leave them out without a word."""
    found: dict[str, str] = {}
    for each in fields(s):
        if each.name.startswith("ratelimit_") and each.type is str:
            try:
                parse(getattr(s, each.name))
            except ValueError:
                found[environment_name(each)] = "must look like 100/hour"
    return found


def _production_problems(s: Settings) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in (("SECRET_KEY", s.secret_key), ("JWT_SECRET_KEY", s.jwt_secret_key)):
        if len(value.encode()) < MIN_SECRET_BYTES:
            found[name] = f"must be set to a random secret of at least {MIN_SECRET_BYTES} bytes"
        elif len(set(value)) < 8 or "change" in value.lower():
            found[name] = "is a placeholder, not a secret"
    if s.debug:
        found["DEBUG"] = "must be off in production"
    if not s.database_url.startswith("postgresql"):
        found["DATABASE_URL"] = "must be a PostgreSQL URL in production; SQLite serves one machine only"
    if not s.base_url.startswith("https://"):
        found["PUBLIC_URL"] = "must be the https:// address people use"
    if s.trusted_proxies < 1:
        found["TRUSTED_PROXIES"] = "must say how many TLS proxies stand in front (1 or more)"
    if any(origin.startswith("http://") for origin in s.allowed_origins):
        found["ALLOWED_ORIGINS"] = "must be https:// origins in production"
    if s.has_livekit and len(s.livekit_api_secret.encode()) < MIN_SECRET_BYTES:
        found["LIVEKIT_API_SECRET"] = f"must have at least {MIN_SECRET_BYTES} bytes"
    if s.access_token_ttl > 86_400:
        found["ACCESS_TOKEN_TTL"] = "must not exceed a day; sessions are kept by refresh tokens"
    if not s.ratelimit_enabled:
        found["RATELIMIT_ENABLED"] = "must be on in production"
    return found


def _keep_development_secrets(path: Path) -> None:
    """Make random secrets once, so that all processes and runs of one checkout share them."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}={secrets.token_urlsafe(48)}\n" for name in ("SECRET_KEY", "JWT_SECRET_KEY")))
