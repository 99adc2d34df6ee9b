"""LiveKit follows our database: what was decided there is carried out here."""

from shared.livekit import client
from shared.livekit.jobs import DeleteRoom
from shared.runtime import Runtime
from workers.task import outside


@outside(DeleteRoom)
def delete_room(runtime: Runtime, job: DeleteRoom) -> None:
    """Send everybody out of a room; a room that is gone is fine."""
    client.delete_room(runtime.settings, job.room)
