"""LiveKit follows our database: what was decided there is carried out here."""

from shared.core.transaction import Transaction
from shared.livekit import client, inbox
from shared.livekit.jobs import AlignParticipant, DeleteRoom, HandleEvent
from shared.participants.media import Alignment, alignment_of
from shared.runtime import Runtime
from workers.task import in_transaction, outside


@outside(DeleteRoom)
def delete_room(runtime: Runtime, job: DeleteRoom) -> None:
    """Send everybody out of a room; a room that is gone is fine."""
    client.delete_room(runtime.settings, job.room)


@outside(AlignParticipant)
def align_participant(runtime: Runtime, job: AlignParticipant) -> None:
    """Carry out what the database says of somebody now, whatever it said when the job was made.

    Looked up once more when LiveKit has it: meanwhile another worker may have carried out what is newer, and this one
    would have undone it.
    """
    carried_out: Alignment | None = None
    while (wanted := _wanted(runtime, job)) != carried_out:
        if wanted.grant is None:
            client.remove_participant(runtime.settings, job.room, job.identity)
        else:
            client.set_permissions(runtime.settings, wanted.grant, is_muted=wanted.is_muted)
        carried_out = wanted


def _wanted(runtime: Runtime, job: AlignParticipant) -> Alignment:
    with runtime.reading() as tx:
        return alignment_of(tx, job.room, job.identity)


@in_transaction(HandleEvent)
def handle_event(tx: Transaction, job: HandleEvent) -> None:
    """Draw the consequences of what LiveKit reported."""
    inbox.handle(tx, job.event_id)
