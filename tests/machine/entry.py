"""The model of who gets in: the life of a meeting, coming and going, the waiting room (contract 2 to 5)."""

from dataclasses import dataclass, field
from typing import Any

from tests.machine.words import STAFF, Identity, Message, Place, Refused, forbidden, nobody, not_found

WRONG_PASSCODES = 10  # ours: after so many in a meeting no further one is looked at


@dataclass
class Entry:
    """The meeting, seen from its door. People are told apart by their names."""

    policy: dict[str, Any]
    status: str = "scheduled"
    version: int = 1
    passcode: str | None = None
    places: dict[str, Place] = field(default_factory=dict)
    queue: list[str] = field(default_factory=list)
    hands: list[str] = field(default_factory=list)
    attended: set[str] = field(default_factory=set)
    messages: list[Message] = field(default_factory=list)
    wrong_passcodes: dict[str, int] = field(default_factory=dict)

    # --- who may

    def member(self, who: Identity) -> Place:
        """Return the caller's place; what one may not see does not exist (contract 2)."""
        place = self.places.get(who.name)
        if place is None and who.is_guest:
            raise Refused(401, "UNAUTHENTICATED")
        if place is None or place.status in ("removed", "denied"):
            raise not_found()
        return place

    def staff(self, who: Identity, roles: tuple[str, ...] = STAFF) -> Place:
        """Return the place of a host or co-host."""
        place = self.member(who)
        if place.role not in roles:
            raise forbidden()
        return place

    def inside(self, who: Identity) -> Place:
        """Return the place of somebody who is in the running meeting."""
        place = self.member(who)
        self.check_running()
        if not place.is_inside:
            raise forbidden()
        return place

    def reader(self, who: Identity) -> Place:
        """Return the place of somebody who is or was inside; ours: hosts and co-hosts always."""
        place = self.member(who)
        if not (place.is_inside or (place.status == "left" and place.was_inside) or place.is_staff):
            raise forbidden()
        return place

    def hosts_reader(self, who: Identity) -> Place:
        """Return the place of somebody who may read the stream `hosts`."""
        self.reader(who)
        return self.staff(who)

    def listener(self, who: Identity) -> Place:
        """Return the place of somebody who may open the WebSocket (contract 5)."""
        place = self.member(who)
        self.check_running()
        if place.status not in ("joined", "waiting"):
            raise forbidden()
        return place

    def check_running(self) -> None:
        """Contract 3: `end`, `join` on a meeting that does not run."""
        if self.status == "scheduled":
            raise Refused(400, "MEETING_NOT_ACTIVE")
        self.check_not_over()

    def check_not_over(self) -> None:
        """The last two states are final."""
        if self.status == "completed":
            raise Refused(410, "MEETING_ENDED")
        if self.status == "cancelled":
            raise Refused(400, "INVALID_MEETING_STATE")

    def _target(self, name: str) -> Place:
        if name not in self.places:
            raise nobody()
        return self.places[name]

    # --- the meeting (contract 3)

    def start(self, who: Identity) -> None:
        """POST start."""
        self.staff(who)
        self.check_not_over()
        if self.status == "in_progress":
            raise Refused(409, "MEETING_ALREADY_ACTIVE")
        self.status = "in_progress"

    def end(self, who: Identity) -> None:
        """POST end: everybody has left."""
        self.staff(who)
        self.check_running()
        self.status = "completed"
        for place in self.places.values():
            if place.status in ("joined", "waiting"):
                self._out(place, "left")

    def cancel(self, who: Identity) -> None:
        """DELETE."""
        self.staff(who, ("host",))
        self.check_not_over()
        if self.status == "in_progress":
            raise Refused(400, "INVALID_MEETING_STATE")
        self.status = "cancelled"

    # --- coming and going (contract 4)

    @property
    def seats(self) -> int:
        """Hosts and co-hosts do not count towards `max_participants`."""
        return sum(place.is_inside and not place.is_staff for place in self.places.values())

    @property
    def is_full(self) -> bool:
        """Tell whether an attendee would find no seat."""
        return self.seats >= self.policy["max_participants"]

    def join(self, who: Identity, passcode: str | None = None, *, muted: bool = False, video: bool = True) -> Place:
        """POST join; the place's status says whether it was 200 or 202."""
        self.check_running()
        place = self.places.get(who.name)
        if place is not None and place.is_inside:
            return place
        must_wait = self.judge(who, passcode)
        place = self.places.setdefault(who.name, Place(who))
        if not must_wait:
            self._enter(place, muted=muted, video=video)
        elif place.status != "waiting":
            place.status, place.is_muted, place.is_video_enabled = "waiting", muted, video
            self.queue.append(who.name)
        return place

    def judge(self, who: Identity, passcode: str | None) -> bool:
        """Raise the first refusal in the contract's order, or return whether the person has to wait."""
        place = self.places.get(who.name, Place(who))
        rules = self.policy
        if place.is_banned or (who.name in rules["blocked_users"] and not place.is_staff):  # ours: staff is not listed
            raise Refused(403, "USER_BLOCKED")
        if who.is_guest and not rules["allow_anonymous_join"]:
            raise Refused(403, "ANONYMOUS_NOT_ALLOWED")
        if place.is_staff:  # ours: hosts and co-hosts need no passcode and no domain either
            return False
        is_of_domain = who.domain in rules["allowed_domains"]
        is_restricted = rules["join_approval_mode"] == "domain_restricted"
        if rules["allowed_domains"] and not is_of_domain and not is_restricted:
            raise Refused(403, "DOMAIN_NOT_ALLOWED")
        self._check_passcode(who, passcode)
        if rules["lock_meeting"]:
            raise Refused(403, "MEETING_LOCKED")
        if self.is_full:
            raise Refused(403, "MAX_PARTICIPANTS_REACHED")
        if place.was_admitted and place.status not in ("removed", "denied"):  # ours: a host's yes is for this meeting
            return False
        is_held = rules["require_waiting_room"] or rules["join_approval_mode"] == "manual"
        return place.is_sent_back or is_held or (is_restricted and not is_of_domain)

    def _check_passcode(self, who: Identity, passcode: str | None) -> None:
        if not self.policy["require_password"]:
            return
        if passcode is None:
            raise Refused(403, "PASSCODE_REQUIRED")
        client = "an address" if who.is_guest and who.name not in self.places else who.name
        if self.wrong_passcodes.get(client, 0) >= WRONG_PASSCODES:
            raise Refused(429, "RATE_LIMIT_EXCEEDED")
        if passcode != self.passcode:
            self.wrong_passcodes[client] = self.wrong_passcodes.get(client, 0) + 1
            raise Refused(403, "PASSCODE_INVALID")

    def foresee(self, who: Identity, whom: Identity) -> dict[str, Any]:
        """POST security/validate-access: what a join without a passcode would get."""
        (self.member if who == whom else self.staff)(who)
        try:
            self.check_running()
            place = self.places.get(whom.name)
            must_wait = not (place and place.is_inside) and self.judge(whom, None)
        except Refused as refused:
            return {"allowed": False, "action": "deny", "code": refused.code}
        if must_wait:
            return {"allowed": False, "action": "wait", "code": "WAITING_ROOM_REQUIRED"}
        return {"allowed": True, "action": "join", "code": None}

    def _enter(self, place: Place, *, muted: bool, video: bool) -> None:
        self._out(place, "joined")
        place.is_muted = muted or self.policy["mute_on_entry"] or not place.can_publish
        place.is_video_enabled = video and place.can_publish and not self.policy["disable_camera"]
        place.is_sent_back, place.was_inside = False, True
        self.attended.add(place.who.name)

    def _out(self, place: Place, status: str) -> None:
        """Take somebody out of wherever they are; nobody takes a screen or a hand along."""
        place.status, place.is_screen_sharing = status, False
        self._set_hand(place, up=False)
        if place.who.name in self.queue:
            self.queue.remove(place.who.name)

    def _set_hand(self, place: Place, *, up: bool) -> None:
        place.is_hand_raised = up
        if up and place.who.name not in self.hands:
            self.hands.append(place.who.name)
        if not up and place.who.name in self.hands:
            self.hands.remove(place.who.name)

    def leave(self, who: Identity) -> None:
        """POST leave; safe to repeat."""
        place = self.member(who)
        self.check_running()
        if place.status == "invited":
            raise nobody()
        if place.status in ("joined", "waiting"):
            self._out(place, "left")

    # --- the waiting room (contract 5)

    def admit(self, who: Identity, names: list[str] | None) -> list[str]:
        """POST waiting-room/admit: in the order of the queue, as long as there are seats. Returns who is in."""
        self.staff(who)
        self.check_running()
        chosen = self._chosen(names)
        admitted: list[str] = []
        for place in chosen:
            if place.is_staff or not self.is_full:
                self._enter(place, muted=place.is_muted, video=place.is_video_enabled)
                place.was_admitted = True
                admitted.append(place.who.name)
        if chosen and not admitted:
            raise Refused(403, "MAX_PARTICIPANTS_REACHED")
        return admitted

    def deny(self, who: Identity, names: list[str]) -> None:
        """POST waiting-room/deny."""
        self.staff(who)
        self.check_running()
        for place in self._chosen(names):
            self._out(place, "denied")

    def _chosen(self, names: list[str] | None) -> list[Place]:
        if names is not None and not set(names) <= set(self.queue):
            raise nobody()
        return [self.places[name] for name in self.queue if names is None or name in names]

    def address(self, who: Identity) -> int:
        """POST waiting-room/message. Returns how many hear it."""
        self.staff(who)
        self.check_running()
        return len(self.queue)

    def send_back(self, who: Identity, name: str) -> None:
        """POST send-to-waiting-room: only a host lets the person out again."""
        self.staff(who)
        self.check_running()
        place = self._target(name)
        if not place.is_inside:
            raise nobody()
        if place.is_staff:
            raise forbidden()
        self._out(place, "waiting")
        place.was_admitted, place.is_sent_back = False, True
        self.queue.append(name)
