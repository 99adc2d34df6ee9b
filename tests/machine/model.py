"""A meeting as the contract describes it, in memory: the reference that the product is compared with.

It keeps no time. Every method is one call of the API: it raises Refused with the status and the code that the contract
demands, and then has changed nothing; or it changes the state and returns what the answer says.
"""

from dataclasses import dataclass, replace
from typing import Any

from tests.machine.entry import Entry
from tests.machine.words import DEFAULTS, STAFF, TAKES_AWAY, Identity, Message, Place, Refused, forbidden, nobody


@dataclass
class Model(Entry):
    """The meeting, inside and out."""

    @classmethod
    def create(cls, host: Identity, invited: list[Identity], rules: dict[str, Any]) -> "Model":
        """POST /meetings."""
        model = cls(dict(DEFAULTS))
        model._set_rules(rules)
        model.places = {one.name: Place(one) for one in (host, *invited)}
        model.places[host.name].role = "host"
        return model

    # --- what hosts do to others (contract 4)

    def remove(self, who: Identity, name: str, *, ban: bool) -> None:
        """POST remove; with `ban` no door lets that person in again."""
        place = self._moderated(who, name)
        if place.role == "host" or who.name == name:
            raise forbidden()
        self._put_out(place)
        place.is_banned = place.is_banned or ban

    def _put_out(self, place: Place) -> None:
        self._out(place, "removed")
        place.was_admitted = False

    def _moderated(self, who: Identity, name: str) -> Place:
        me = self.staff(who)
        self.check_not_over()
        place = self._target(name)
        if place.role == "host" and me.role != "host":
            raise forbidden()
        return place

    def change_role(self, who: Identity, name: str, role: str) -> None:
        """PATCH role: only the host; the last host cannot be demoted."""
        place = self._changeable(who, name)
        if self.places[who.name].role != "host":
            raise forbidden()
        if role == "host" and place.who.is_guest:  # ours: a host has an account
            raise Refused(422, "VALIDATION_ERROR")
        is_last = place.role == "host" and sum(one.role == "host" for one in self.places.values()) == 1
        if is_last and role != "host":
            raise forbidden()
        if place.is_inside and place.is_staff and role not in STAFF and self.is_full:
            raise Refused(403, "MAX_PARTICIPANTS_REACHED")
        place.role = role
        self._take_away(place)

    def _changeable(self, who: Identity, name: str) -> Place:
        place = self._moderated(who, name)
        if place.status in ("removed", "denied"):
            raise nobody()
        return place

    def change_flag(self, who: Identity, name: str, flag: str, value: bool) -> None:
        """PATCH a flag: a host can mute but not unmute another."""
        place = self._changeable(who, name)
        self.check_running()
        if not place.is_inside:
            raise nobody()
        if who.name != name and value is not TAKES_AWAY[flag]:
            raise forbidden()
        self._set_flag(place, flag, value)

    def change_right(self, who: Identity, name: str, right: str, value: bool) -> None:
        """PATCH can_publish, can_chat; ours: a co-host does not take back what a host took."""
        place = self._changeable(who, name)
        if who.name == name and place.role != "host":
            raise forbidden()
        setattr(place, right, value)
        if right == "can_publish" and not value and place.is_inside:
            place.is_muted, place.is_video_enabled, place.is_screen_sharing = True, False, False

    # --- what people do inside (contract 4 and 7)

    def set_flag(self, who: Identity, flag: str, value: bool) -> None:
        """PUT participants/status."""
        self._set_flag(self.inside(who), flag, value)

    def _set_flag(self, place: Place, flag: str, value: bool) -> None:
        is_on = value is not TAKES_AWAY[flag]
        if is_on and not place.can_publish and flag != "is_hand_raised":
            raise forbidden()
        if is_on and flag == "is_screen_sharing" and not self._permits("screen_share_permissions", place):
            raise Refused(403, "SCREEN_SHARE_DISABLED")
        if is_on and flag == "is_video_enabled" and not self._may_show(place):
            raise forbidden()
        if flag == "is_hand_raised":
            if value and not self.policy["enable_hand_raise"]:
                raise Refused(403, "HAND_RAISE_DISABLED")
            self._set_hand(place, up=value)
        setattr(place, flag, value)

    def _may_show(self, place: Place) -> bool:
        """Tell whether somebody may switch a camera on; ours: hosts and co-hosts always."""
        return place.is_staff or not self.policy["disable_camera"]

    def _permits(self, rule: str, place: Place) -> bool:
        permission = self.policy[rule]
        return permission == "all" or (permission == "host" and place.is_staff)

    def chat(self, who: Identity, content: str, recipient: str | None) -> None:
        """POST chat."""
        place = self.inside(who)
        if not self._permits("chat_permissions", place) or not place.can_chat:
            raise Refused(403, "CHAT_DISABLED")
        if recipient == who.name:
            raise Refused(422, "VALIDATION_ERROR")
        if recipient is not None and not self._target(recipient).is_inside:
            raise nobody()
        audience = frozenset(one.who.name for one in self.places.values() if one.is_inside)
        self.messages.append(Message(content, who.name, recipient, audience))

    def history(self, who: Identity) -> set[str]:
        """GET chat: public ones of the time one was inside; private ones only to sender and recipient."""
        me = self.reader(who)
        return {
            one.content
            for one in self.messages
            if who.name in (one.sender, one.recipient)
            or (one.recipient is None and (me.is_staff or who.name in one.audience))
        }

    def react(self, who: Identity) -> None:
        """POST reactions."""
        self.inside(who)
        if not self.policy["enable_reactions"]:
            raise Refused(403, "REACTIONS_DISABLED")

    def roster(self, who: Identity) -> set[str]:
        """GET participants: attendees see `joined` and `left`; ours: of these, who ever was inside."""
        me = self.reader(who)
        return {
            one.who.name
            for one in self.places.values()
            if me.is_staff or one.is_inside or (one.status == "left" and one.was_inside)
        }

    def raised(self, who: Identity) -> list[str]:
        """GET hands: in the order in which they went up."""
        self.reader(who)
        return list(self.hands)

    # --- the policy (contract 6)

    def change_policy(self, who: Identity, rules: dict[str, Any], *, replacing: bool) -> None:
        """POST (replaces) and PATCH (merges) of the policy; what it takes away is gone at once."""
        self.staff(who, ("host",))
        self.check_not_over()
        start = replace(self, policy=dict(DEFAULTS), passcode=None) if replacing else replace(self)
        start._set_rules(rules)
        before, self.policy, self.passcode = self.policy, start.policy, start.passcode
        self.version += 1
        if self.status == "in_progress":
            self._enforce(before)

    def _set_rules(self, rules: dict[str, Any]) -> None:
        passcode = rules.get("passcode", self.passcode)
        merged = self.policy | {name: value for name, value in rules.items() if name != "passcode"}
        if merged["require_password"] and passcode is None:
            raise Refused(422, "VALIDATION_ERROR")
        merged["allowed_domains"] = [domain.lower() for domain in merged["allowed_domains"]]
        self.policy, self.passcode = merged, passcode

    def _enforce(self, before: dict[str, Any]) -> None:
        newly_blocked = set(self.policy["blocked_users"]) - set(before["blocked_users"])
        for place in self.places.values():
            if place.who.name in newly_blocked and not place.is_staff and place.status in ("joined", "waiting"):
                self._put_out(place)
            self._take_away(place)
            if not self.policy["enable_hand_raise"]:
                self._set_hand(place, up=False)

    def _take_away(self, place: Place) -> None:
        """Every rule holds for those inside as for those who come: what role and rules do not allow is gone."""
        if place.is_inside:
            place.is_screen_sharing = place.is_screen_sharing and self._permits("screen_share_permissions", place)
            place.is_video_enabled = place.is_video_enabled and self._may_show(place)
