"""Acts of which the audit trail tells, each in a house of its own: done, refused, and some that leave no row (P22)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.factories.scene import UNKNOWN, co_host
from tests.factories.world import Answer, Person, World

SECRET = "open sesame"


class House:
    """A meeting with somebody of every kind in it, and the paths of what is done there."""

    def __init__(self, world: World, *, start: bool = True) -> None:
        self.world = world
        self.host = world.person("Hosta")
        policy = {"allow_anonymous_join": True}
        self.id = world.meeting(self.host, start=start, policy=policy)
        self.deputy = co_host(world, self.id, "Deputy")
        self.ann, self.stranger = world.person("Ann"), world.person("Stranger")
        self.seats: dict[str, str] = {}
        if start:
            for name, person in {"host": self.host, "deputy": self.deputy, "ann": self.ann}.items():
                self.enter(name, person)

    def enter(self, name: str, person: Person) -> None:
        """Let somebody join, who is called `name` from then on."""
        self.seats[name] = str(person.post(self.path("/join")).data["participant_id"])

    def path(self, rest: str) -> str:
        """Return the path of something in the meeting."""
        return f"/meetings/{self.id}{rest}"

    def of(self, who: str, rest: str = "") -> str:
        """Return the path of a participant."""
        return self.path(f"/participants/{self.seats[who]}{rest}")

    def let_wait(self) -> None:
        """Let Wanda and Will wait."""
        self.host.patch(self.path("/security/policy"), {"require_waiting_room": True})
        for name in ("Wanda", "Will"):
            self.enter(name.lower(), self.world.person(name))

    def message(self, person: Person) -> str:
        """Let somebody write; return the message's path."""
        said = person.post(self.path("/chat"), {"content": "hello", "message_type": "text"}).data
        return self.path(f"/chat/{said['message_id']}")

    def guest(self) -> None:
        """Let a guest enter, who is called gus from then on."""
        seat = self.world.nobody().post(self.path("/join"), {"display_name": "Gus"}).data
        self.seats["gus"] = seat["participant_id"]
        self.gus = self.world.guest(seat["guest_token"])


Row = tuple[str, str, str | None]  # kind, outcome, name of the target


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that somebody does, how it is answered, and the rows that it leaves in this order.

    `setting` is what has to be done before, and leaves rows of its own.
    """

    do: Callable[[House], Answer]
    status: int
    rows: list[Row]
    setting: Callable[[House], object] | None = None
    starts: bool = True


def done(kind: str, *targets: str | None) -> list[Row]:
    """Return the rows of an act on several people, or on nobody."""
    return [(kind, "done", target) for target in targets or (None,)]


def refused(kind: str, target: str | None = None) -> list[Row]:
    """Return the row of a refusal."""
    return [(kind, "refused", target)]


def rules(who: str, verb: str, **wanted: Any) -> Callable[[House], Answer]:
    """Let somebody set rules."""
    return lambda h: getattr(h, who).call(verb, h.path("/security/policy"), wanted)


def patch(who: str, whom: str, **changes: Any) -> Callable[[House], Answer]:
    """Let somebody change a participant."""
    return lambda h: getattr(h, who).patch(h.of(whom), changes)


def post(who: str, path: str, **body: Any) -> Callable[[House], Answer]:
    """Let somebody POST to an address of the meeting; in braces stands whose participant id is meant."""
    return lambda h: getattr(h, who).post(h.path(path.format(**h.seats)), body)


def waiters(who: str, verb: str, *names: str) -> Callable[[House], Answer]:
    """Let somebody answer those who wait."""
    return lambda h: getattr(h, who).post(
        h.path(f"/waiting-room/{verb}"), {"participant_ids": [h.seats[name] for name in names]}
    )


MODERATE, ROLE, REMOVE = "participants.moderate", "participants.change_role", "participants.remove"
POLICY, BACK, ADMIT, DENY = "policy.update", "waiting_room.send_back", "waiting_room.admit", "waiting_room.deny"

ACTS: dict[str, Act] = {
    # to the meeting
    "a meeting is started": Act(post("host", "/start"), 200, done("meeting.start"), starts=False),
    "a co-host starts a meeting": Act(post("deputy", "/start"), 200, done("meeting.start"), starts=False),
    "a meeting is cancelled": Act(lambda h: h.host.delete(h.path("")), 200, done("meeting.cancel"), starts=False),
    "a co-host ends a meeting": Act(post("deputy", "/end"), 200, done("meeting.end")),
    "a title is changed": Act(lambda h: h.host.patch(h.path(""), {"title": "New"}), 200, done("meeting.update")),
    "a title is changed by an attendee": Act(
        lambda h: h.ann.patch(h.path(""), {"title": "Mine"}), 403, refused("meeting.update")
    ),
    "a meeting is started by an attendee": Act(post("ann", "/start"), 403, refused("meeting.start")),
    "a meeting is ended by an attendee": Act(post("ann", "/end"), 403, refused("meeting.end")),
    "a meeting is cancelled by a co-host": Act(lambda h: h.deputy.delete(h.path("")), 403, refused("meeting.cancel")),
    # to the rules
    "rules are changed": Act(rules("host", "PATCH", lock_meeting=True), 200, done(POLICY)),
    "rules are replaced": Act(rules("host", "POST", mute_on_entry=True), 200, done(POLICY)),
    "a passcode is set": Act(rules("host", "PATCH", require_password=True, passcode=SECRET), 200, done(POLICY)),
    "somebody inside is blocked": Act(
        lambda h: h.host.patch(h.path("/security/policy"), {"blocked_users": [h.ann.id]}), 200, done(POLICY)
    ),
    "rules are changed by an attendee": Act(rules("ann", "PATCH", lock_meeting=True), 403, refused(POLICY)),
    "rules are replaced by a co-host": Act(rules("deputy", "POST"), 403, refused(POLICY)),
    # to somebody
    "a microphone is switched off": Act(patch("host", "ann", is_muted=True), 200, done(MODERATE, "Ann")),
    "everybody is muted": Act(post("host", "/mute-all"), 202, done(MODERATE)),
    "all hands are lowered": Act(post("deputy", "/lower-hands"), 202, done(MODERATE)),
    "many are muted": Act(
        post("host", "/participants/batch", filter={"role": "attendee"}, set={"is_muted": True}), 202, done(MODERATE)
    ),
    "everybody is muted by an attendee": Act(post("ann", "/mute-all"), 403, refused(MODERATE)),
    "a camera is switched off": Act(patch("host", "ann", is_video_enabled=False), 200, done(MODERATE, "Ann")),
    "a screen is taken down": Act(patch("host", "ann", is_screen_sharing=False), 200, done(MODERATE, "Ann")),
    "a hand is lowered": Act(patch("host", "ann", is_hand_raised=False), 200, done(MODERATE, "Ann")),
    "a voice is taken away": Act(patch("host", "ann", can_publish=False), 200, done(MODERATE, "Ann")),
    "a voice is given back": Act(patch("host", "ann", can_publish=True), 200, done(MODERATE, "Ann")),
    "the chat is taken away": Act(patch("host", "ann", can_chat=False), 200, done(MODERATE, "Ann")),
    "several things are done at once": Act(
        patch("host", "ann", is_muted=True, role="co-host", can_chat=False), 200, done(ROLE, "Ann")
    ),
    "a co-host mutes": Act(patch("deputy", "ann", is_muted=True), 200, done(MODERATE, "Ann")),
    "a guest is muted": Act(patch("host", "gus", is_muted=True), 200, done(MODERATE, "Gus"), House.guest),
    "somebody is promoted": Act(patch("host", "ann", role="co-host"), 200, done(ROLE, "Ann")),
    "somebody is made a host": Act(patch("host", "ann", role="host"), 200, done(ROLE, "Ann")),
    "somebody is demoted": Act(patch("host", "deputy", role="attendee"), 200, done(ROLE, "Deputy")),
    "somebody is removed": Act(post("host", "/participants/{ann}/remove", reason="noise"), 200, done(REMOVE, "Ann")),
    "somebody is banned": Act(
        post("deputy", "/participants/{ann}/remove", ban=True), 200, done("participants.ban", "Ann")
    ),
    "a waiter is removed": Act(post("host", "/participants/{will}/remove"), 200, done(REMOVE, "Will"), House.let_wait),
    "somebody is muted by an attendee": Act(patch("ann", "deputy", is_muted=True), 403, refused(MODERATE, "Deputy")),
    "somebody is unmuted by a host": Act(patch("host", "ann", is_muted=False), 403, refused(MODERATE, "Ann")),
    "somebody is promoted by a co-host": Act(patch("deputy", "ann", role="co-host"), 403, refused(ROLE, "Ann")),
    "a host is muted by a co-host": Act(
        patch("deputy", "host", is_muted=True), 403, refused("participants.moderate_host", "Hosta")
    ),
    "the last host steps down": Act(patch("host", "host", role="attendee"), 403, refused(MODERATE, "Hosta")),
    "somebody is removed by an attendee": Act(
        post("ann", "/participants/{deputy}/remove"), 403, refused(REMOVE, "Deputy")
    ),
    "a host is removed by another": Act(
        post("deputy", "/participants/{host}/remove"), 403, refused("participants.moderate_host", "Hosta")
    ),
    # to those who wait
    "one is admitted": Act(waiters("host", "admit", "will"), 200, done(ADMIT, "Will"), House.let_wait),
    "all are admitted": Act(
        post("deputy", "/waiting-room/admit", all=True), 200, done(ADMIT, "Wanda", "Will"), House.let_wait
    ),
    "two are denied": Act(waiters("deputy", "deny", "wanda", "will"), 200, done(DENY, "Wanda", "Will"), House.let_wait),
    "something is said to those who wait": Act(
        post("host", "/waiting-room/message", text="soon"), 200, done("waiting_room.address"), House.let_wait
    ),
    "somebody is sent back": Act(post("host", "/participants/{ann}/send-to-waiting-room"), 200, done(BACK, "Ann")),
    "waiters are admitted by an attendee": Act(waiters("ann", "admit", "ann"), 403, refused(ADMIT)),
    "waiters are denied by an attendee": Act(waiters("ann", "deny", "ann"), 403, refused(DENY)),
    "something is said to them by an attendee": Act(
        post("ann", "/waiting-room/message", text="hi"), 403, refused("waiting_room.address")
    ),
    "somebody is sent back by an attendee": Act(
        post("ann", "/participants/{deputy}/send-to-waiting-room"), 403, refused(BACK, "Deputy")
    ),
    "an attendee looks who waits": Act(lambda h: h.ann.get(h.path("/waiting-room")), 403, refused("waiting_room.read")),
    # to what somebody said
    "a message is taken down": Act(lambda h: h.host.delete(h.message(h.ann)), 200, done("chat.delete_any", "Ann")),
    "a message is taken down by an attendee": Act(
        lambda h: h.ann.delete(h.message(h.host)), 403, refused("chat.delete_any")
    ),
    "somebody writes whose chat was taken away": Act(
        post("ann", "/chat", content="hm", message_type="text"),
        403,
        refused("chat.send"),
        patch("host", "ann", can_chat=False),
    ),
    # strangers, guests, and who enters
    "a guest gets a token": Act(
        lambda h: h.world.nobody().post(h.path("/join"), {"display_name": "Gus"}), 200, done("guests.token", "Gus")
    ),
    "a guest ends the meeting": Act(post("gus", "/end"), 403, refused("meeting.end"), House.guest),
    "a stranger reads a meeting": Act(lambda h: h.stranger.get(h.path("")), 404, refused("meeting.read")),
    "a stranger reads the chat": Act(lambda h: h.stranger.get(h.path("/chat")), 404, refused("chat.read")),
    "a stranger removes": Act(post("stranger", "/participants/{ann}/remove"), 404, refused(REMOVE, "Ann")),
    "a stranger wants a ticket": Act(post("stranger", "/ws-ticket"), 404, refused("meeting.listen")),
    "a banned person asks again": Act(
        post("ann", "/join"), 403, refused("meeting.join"), post("host", "/participants/{ann}/remove", ban=True)
    ),
    "a wrong passcode is tried": Act(
        post("stranger", "/join", passcode="guess"),
        403,
        refused("meeting.join"),
        rules("host", "PATCH", require_password=True, passcode=SECRET),
    ),
    "an attendee reads the trail": Act(lambda h: h.ann.get(h.path("/security/events")), 403, refused("audit.read")),
    # what leaves no row
    "one's own microphone": Act(patch("host", "host", is_muted=True), 200, []),
    "one's own message": Act(lambda h: h.ann.delete(h.message(h.ann)), 200, []),
    "somebody with an account joins": Act(lambda h: h.world.person().post(h.path("/join")), 200, []),
    "somebody writes": Act(post("ann", "/chat", content="hi", message_type="text"), 201, []),
    "somebody leaves": Act(post("ann", "/leave"), 200, []),
    "a field is wrong": Act(rules("host", "PATCH", lock_meeting="yes"), 422, []),
    "nobody of that id": Act(post("host", f"/participants/{UNKNOWN}/remove"), 404, []),
    "nobody asks": Act(lambda h: h.world.nobody().get(h.path("")), 401, []),
}
