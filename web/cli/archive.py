"""`flask parley verify-archive`: is everything that left the ledger still where it was brought?"""

import sys
from collections.abc import Iterator

import click

from shared.core.storage import Storage, StorageFailed
from shared.meetings.queries import find_meeting
from shared.retention import checking
from shared.retention.checking import Kept
from shared.runtime import Runtime
from web.cli.commands import parley
from web.http.runtime import current_runtime


@parley.command("verify-archive")
@click.option("--meeting", "meeting_id", help="Only what was archived of this meeting.")
def verify_archive(meeting_id: str | None) -> None:
    """Check that all that was archived is there, unchanged, and that no event is in neither place.

    Reads every object. Exits with 1 when something is wrong.
    """
    runtime = current_runtime()
    if meeting_id is not None:
        with runtime.reading() as tx:
            if find_meeting(tx, meeting_id) is None:
                raise click.ClickException(f"There is no meeting {meeting_id}.")
    count = events = broken = 0
    for name, why in _holes(runtime, meeting_id):
        broken += 1
        click.echo(f"BAD  {name}  {why}")
    try:
        storage: Storage | None = None
        for kept in _objects(runtime, meeting_id):
            storage = storage or _open(runtime)
            why_not = checking.what_is_wrong(runtime.tools.keyring, kept, storage.get)
            count, events = count + 1, events + kept.event_count
            if why_not is not None:
                broken += 1
                click.echo(f"BAD  {kept.key}  {why_not}")
    except StorageFailed as away:
        raise click.ClickException(f"The archive does not answer: {away}") from None
    click.echo(f"{'BAD' if broken else 'ok '}  {count} objects with {events} events, {broken} wrong")
    sys.exit(1 if broken else 0)


def _open(runtime: Runtime) -> Storage:
    url = runtime.settings.archive_url
    if not url:
        raise click.ClickException("Events were archived, and ARCHIVE_URL does not say where.")
    return Storage(url)


def _objects(runtime: Runtime, meeting_id: str | None) -> Iterator[Kept]:
    after = ""
    while True:
        with runtime.reading() as tx:
            some = checking.objects(tx, after, meeting_id)
        if not some:
            return
        yield from some
        after = some[-1].key


def _holes(runtime: Runtime, meeting_id: str | None) -> Iterator[tuple[str, str]]:
    after: str | None = ""
    while after is not None:
        with runtime.reading(consistent=True) as tx:
            page = checking.holes(tx, after, meeting_id)
        yield from page.wrong
        after = page.last
