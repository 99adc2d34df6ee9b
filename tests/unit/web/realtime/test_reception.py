"""The reception: whose cursor is older than what is kept is sent to the snapshot (contract 11)."""

from pathlib import Path

from shared.core import ledger
from shared.core.storage import Storage
from shared.core.streams import meeting_stream
from shared.participants.arrivals import Arrival
from shared.runtime import Runtime
from tests.factories.scene import Scene
from tests.fakes.clock import FakeClock
from web.realtime.reception import Handshake, Newcomer, Reception
from workers.retention import archive_meeting


def test_a_cursor_in_front_of_what_was_archived_is_answered_by_a_resync(
    timed: Runtime, clock: FakeClock, tmp_path: Path
) -> None:
    scene = Scene(timed)
    host = scene.user()
    meeting_id = scene.meeting(host)
    scene.join(meeting_id, host)
    clock.pass_(hours=25)
    archive_meeting(timed, Storage(str(tmp_path)), meeting_id, float("inf"))
    ann = scene.user()
    scene.join(meeting_id, ann)

    def resume(seq: int) -> Handshake:
        arrival = Arrival(meeting_id, user_id=host.user_id, session_id=host.session_id)
        return Reception(timed).receive(Newcomer(arrival, {"meeting": seq}, None, "198.51.100.7"))

    with timed.reading() as tx:
        key = meeting_stream(meeting_id)
        head = ledger.heads(tx.connection, [key])[key]
    assert (resume(head - 1).recovered, resume(head - 1).needs_resync) == (True, False)
    for seq in range(head - 1):
        assert (resume(seq).recovered, resume(seq).needs_resync) == (False, True)
    assert resume(head).resumed == {key: head}
