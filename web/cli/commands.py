"""`flask parley …`: what an operator does by hand."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import redis
from flask.cli import AppGroup
from marshmallow import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from shared.audit import chain
from shared.core import outbox, vitals
from shared.core.errors import DomainError, ServiceUnavailable
from shared.core.quick_redis import quick_client
from shared.identity import service as identity
from shared.identity.errors import InvalidCredentials
from shared.identity.names import clean_name
from shared.identity.passwords import hash_password
from shared.meetings.queries import find_meeting
from shared.runtime import Runtime
from web.http import tokens
from web.http.runtime import current_runtime
from web.identity.schemas import RegisterRequest

parley = AppGroup("parley", help="Accounts, tokens, and a look at the installation.")
MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
OLD_OUTBOX_SECONDS = 60


@parley.command("create-user")
@click.option("--email", prompt=True, help="The address to log in with.")
@click.option("--name", prompt=True, help="What others read.")
@click.option("--password", prompt=True, hide_input=True, confirmation_prompt=True, help="8 characters or more.")
def create_user(email: str, name: str, password: str) -> None:
    """Make an account."""
    try:
        wanted: dict[str, Any] = RegisterRequest().load({"email": email, "name": name, "password": password})
    except ValidationError as broken:
        for field, messages in broken.normalized_messages().items():
            click.echo(f"{field}: {' '.join(messages)}", err=True)
        sys.exit(1)
    hashed = hash_password(wanted["password"])
    try:
        with current_runtime().transaction() as tx:
            session = identity.register(tx, wanted["email"], clean_name(wanted["name"]), hashed)
            identity.revoke(tx, session.session_id, "made on the command line")
    except DomainError as refused:
        raise click.ClickException(refused.text) from None
    click.echo(session.user_id)


@parley.command()
@click.option("--email", prompt=True, help="Whose token.")
def token(email: str) -> None:
    """Print an access token of an account: `curl -H "Authorization: Bearer $(flask parley token --email …)" …`."""
    runtime = current_runtime()
    try:
        with runtime.transaction() as tx:
            session = identity.open_session(tx, email)
    except InvalidCredentials:
        raise click.ClickException(f"There is no account with the address {email}.") from None
    except ServiceUnavailable as away:
        raise click.ClickException(f"The database does not answer ({away.text})") from None
    click.echo(tokens.sign("access", session.user_id, session.session_id, runtime.settings.access_token_ttl))


@parley.command("verify-audit")
@click.option("--meeting", "meeting_id", help="Only the trail of this meeting; its end is printed, to be noted down.")
def verify_audit(meeting_id: str | None) -> None:
    """Check that no row of an audit trail was changed, deleted or inserted. Exits with 1 when one was."""
    runtime = current_runtime()
    if meeting_id is not None:
        with runtime.reading() as tx:
            if find_meeting(tx, meeting_id) is None:
                raise click.ClickException(f"There is no meeting {meeting_id}.")
    trails = rows = broken = 0
    for one in [meeting_id] if meeting_id else _trails(runtime):
        with runtime.reading(consistent=True) as tx:
            checked = chain.verify(tx, one)
        trails, rows, broken = trails + 1, rows + checked.rows, broken + (checked.wrong is not None)
        if checked.wrong is not None:
            click.echo(f"BAD  {one}  {checked.wrong}")
        elif meeting_id is not None:
            click.echo(f"ok   {one}  row {checked.rows}, {checked.last_hash}")
    click.echo(f"{'BAD' if broken else 'ok '}  {trails} trails, {rows} rows good, {broken} trails broken")
    sys.exit(1 if broken else 0)


def _trails(runtime: Runtime) -> Iterator[str]:
    after = ""
    while True:
        with runtime.reading() as tx:
            some = chain.chains(tx, after)
        if not some:
            return
        yield from some
        after = some[-1]


@parley.command()
def doctor() -> None:
    """Look at every part this installation needs, and say what is wrong. Exits with 1 when something is."""
    runtime = current_runtime()
    fine = True
    for name, check in (
        ("settings", _settings),
        ("database", _database),
        ("redis", _redis),
        ("worker", _worker),
        ("outbox", _outbox),
        ("livekit", _livekit),
    ):
        is_fine, text = check(runtime)
        fine = fine and is_fine
        click.echo(f"{'ok ' if is_fine else 'BAD'}  {name:<9} {text}")
    sys.exit(0 if fine else 1)


def _settings(runtime: Runtime) -> tuple[bool, str]:
    # Settings that must not go live have kept the process from starting already.
    s = runtime.settings
    return True, f"{s.env}, {s.base_url}, rate limits {'on' if s.ratelimit_enabled else 'off'}"


def _database(runtime: Runtime) -> tuple[bool, str]:
    # Imported late: the web process loads this file too, and never needs them.
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    newest = ScriptDirectory.from_config(config).get_current_head()
    try:
        with runtime.reading() as tx:
            current = MigrationContext.configure(tx.connection).get_current_revision()
    except ServiceUnavailable:
        return False, "does not answer: is DATABASE_URL right, and the server up?"
    kind = runtime.database.url.get_backend_name()
    if current != newest:
        return False, f"{kind}: the schema is at {current or 'nothing'}, not at {newest}; run `flask db upgrade`"
    return True, f"{kind}: schema {current}"


def _redis(runtime: Runtime) -> tuple[bool, str]:
    try:
        with quick_client(runtime.settings.redis_url, timeout=1.0) as client:
            server: Any = client.info("server")
            policy: Any = client.config_get("maxmemory-policy")
    except (redis.RedisError, OSError) as broken:
        return False, f"does not answer ({broken}): is REDIS_URL right, and the server up?"
    version = server.get("valkey_version") or server.get("redis_version")
    evicts = policy.get("maxmemory-policy", "noeviction")
    if evicts != "noeviction":
        return False, f"{version}: maxmemory-policy is {evicts}; a broker that evicts loses jobs, set noeviction"
    return True, f"{version}, noeviction"


def _worker(runtime: Runtime) -> tuple[bool, str]:
    try:
        with runtime.reading() as tx:
            alive = vitals.is_alive(tx.connection, vitals.WORKER, tx.now)
    except (ServiceUnavailable, SQLAlchemyError) as broken:  # the table may not exist yet
        return False, f"cannot be asked ({type(broken).__name__})"
    return alive, "alive" if alive else "no sign of life in 20 s: are a worker and beat running?"


def _outbox(runtime: Runtime) -> tuple[bool, str]:
    try:
        with runtime.reading() as tx:
            age = outbox.oldest_pending_age(tx.connection, tx.now)
    except (ServiceUnavailable, SQLAlchemyError) as broken:
        return False, f"cannot be read ({type(broken).__name__})"
    return age < OLD_OUTBOX_SECONDS, f"the oldest waiting job is {age:.0f} s old"


def _livekit(runtime: Runtime) -> tuple[bool, str]:
    settings = runtime.settings
    if not settings.has_livekit:
        return True, "not configured; everything but media tokens works"
    address = urlsplit(settings.livekit_url)
    port = address.port or (443 if address.scheme == "wss" else 80)
    try:
        with socket.create_connection((address.hostname or "", port), timeout=2.0):
            return True, f"{settings.livekit_url} takes connections"
    except OSError as broken:
        return False, f"{settings.livekit_url} cannot be reached ({broken})"
