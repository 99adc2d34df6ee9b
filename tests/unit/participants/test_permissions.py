"""The table of who may do what, against what the contract says of each role."""

import pytest

from shared.core.errors import InsufficientPermission
from shared.participants import permissions
from shared.participants.models import ATTENDEE, CO_HOST, HOST
from shared.participants.permissions import PERMISSIONS, demand, may
from shared.runtime import Runtime
from tests.factories.scene import Scene, change_place

pytestmark = pytest.mark.once

# Contract 3 to 7, by the names of the table.
ONLY_HOSTS = {
    *("meeting.update", "meeting.cancel", "policy.update", "audit.read", "webhooks.subscribe"),
    *("participants.change_role", "participants.moderate_host", "participants.restore_self"),
}
NOT_ATTENDEES = {
    *("meeting.start", "meeting.end", "events.read_hosts", "policy.read_all", "policy.host_only", "policy.simulate"),
    *("entry.foresee_others", "participants.list_all", "participants.moderate", "participants.remove"),
    *("waiting_room.read", "waiting_room.answer", "waiting_room.address", "waiting_room.send_back"),
    "chat.delete_any",
}


def test_the_table_says_of_each_role_what_the_contract_says():
    held = {role: {name for name, p in PERMISSIONS.items() if role in p.roles} for role in (HOST, CO_HOST, ATTENDEE)}
    assert held[HOST] == set(PERMISSIONS)
    assert held[HOST] - held[CO_HOST] == ONLY_HOSTS
    assert held[CO_HOST] - held[ATTENDEE] == NOT_ATTENDEES


@pytest.mark.parametrize("role", [HOST, CO_HOST, ATTENDEE])
def test_who_lacks_a_permission_is_told_which_and_whom_to_ask(timed: Runtime, role: str):
    scene = Scene(timed)
    meeting_id = scene.meeting(scene.user())
    person = scene.join(meeting_id, scene.user()).participant
    change_place(timed, person.id, role=role)
    person = scene.participant(meeting_id, person.id)
    for permission in PERMISSIONS.values():
        if may(person, permission):
            demand(person, permission)
            continue
        with pytest.raises(InsufficientPermission) as refused:
            demand(person, permission)
        asked = "the host" if permission.name in ONLY_HOSTS else "a host or co-host"
        assert refused.value.details == {"rule": permission.name, "remedy": f"Ask {asked} to do it."}


def test_a_name_is_declared_once():
    with pytest.raises(TypeError, match="declared twice"):
        permissions._permission("meeting.end", "Again.", "member")
