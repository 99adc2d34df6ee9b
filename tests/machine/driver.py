"""Calls of the API, each with what the model says of it, and the comparison behind every one."""

from collections.abc import Callable
from typing import Any

from tests.factories.scene import UNKNOWN
from tests.factories.world import Answer
from tests.machine.cast import Cast
from tests.machine.model import Model
from tests.machine.observer import Observer
from tests.machine.words import Identity, Refused

# What one may look at or fetch, and the model's word on who may: method, path, body, status of the success.
DOORS: dict[str, tuple[str, str, Any, int, Callable[[Model, Identity], Any]]] = {
    "meeting": ("GET", "", None, 200, Model.member),
    "status": ("GET", "/status", None, 200, Model.member),
    "snapshot": ("GET", "/snapshot", None, 200, Model.reader),
    "policy": ("GET", "/security/policy", None, 200, Model.reader),
    "queue": ("GET", "/waiting-room", None, 200, Model.staff),
    "hosts' events": (
        "GET",
        "/events?stream=hosts",
        None,
        200,
        Model.hosts_reader,
    ),
    "roster": ("GET", "/participants?limit=200", None, 200, Model.roster),
    "history": ("GET", "/chat?limit=200", None, 200, Model.history),
    "hands": ("GET", "/hands", None, 200, Model.raised),
    "token": ("POST", "/token", {}, 200, Model.inside),
    "ticket": ("POST", "/ws-ticket", {}, 201, Model.listener),
    "address": ("POST", "/waiting-room/message", {"text": "soon"}, 200, Model.address),
    "reaction": ("POST", "/reactions", {"reaction_type": "clap"}, 201, Model.react),
}


class Driver:
    """One meeting of the product, and the model of it."""

    def __init__(self, cast: Cast) -> None:
        self.cast = cast
        self.people = cast.people()
        self.said = 0

    def create(self, host: Identity, invited: list[Identity], rules: dict[str, Any]) -> None:
        """Make the meeting."""
        self.model = Model.create(host, invited, rules)
        addresses = [self.people[one.name].email for one in invited]
        wish = {"title": "A walk", "policy": self._sent(rules), "invitees": addresses}
        self.meeting_id = self.people[host.name].post("/meetings", wish).data["meeting_id"]
        self.observer = Observer(self.cast.world, self.meeting_id, self.people)
        self.observer.find_ids(self.model)
        self.last = self.observer.state()

    def call(
        self, who: Identity, method: str, rest: str, body: Any, predict: Callable[[], Any], status: int = 200
    ) -> tuple[Answer, Any] | None:
        """Send a request whose outcome `predict` says. Returns the answer and what was predicted; None when refused.

        What was refused must have changed nothing at all; after the others the product must be as the model.
        """
        expected: tuple[int, str | None] = (status, None)
        predicted = None
        try:
            predicted = predict()
        except Refused as refused:
            expected = (refused.status, refused.code)
        answer = self._ask(who, method, rest, body)
        seen = (answer.status, answer.code if answer.status >= 400 else None)
        assert seen == expected, f"{who.name}: {method} {rest} {body}: {seen}, not {expected}"
        if method != "GET":
            state = self.observer.state()
            if answer.status >= 400:
                assert state == self.last, f"refused, and yet done: {who.name}: {method} {rest} {body}"
            else:
                self._find_id(who, answer)
                self.observer.compare(state, self.model)
            self.last = state
        return None if answer.status >= 400 else (answer, predicted)

    def _ask(self, who: Identity, method: str, rest: str, body: Any) -> Answer:
        return self.people[who.name].call(method, f"/meetings/{self.meeting_id}{rest}", body)

    def _find_id(self, who: Identity, answer: Answer) -> None:
        """Learn who somebody new is: the same participant from then on."""
        if not isinstance(answer.data, dict):
            return
        if "guest_token" in answer.data:
            assert who.name not in self.observer.ids
            self.people[who.name] = self.cast.world.guest(answer.data["guest_token"])
        if who.name not in self.observer.ids and who.name in self.model.places:
            self.observer.ids[who.name] = answer.data["participant_id"]

    def seat(self, name: str) -> str:
        """Return the participant id of somebody, or one of nobody."""
        return self.observer.ids.get(name, UNKNOWN)

    def _sent(self, rules: dict[str, Any]) -> dict[str, Any]:
        if "blocked_users" not in rules:
            return rules
        return {**rules, "blocked_users": [self.people[name].id for name in rules["blocked_users"]]}

    # --- deeds

    def move(self, who: Identity, what: str) -> None:
        """Start, end or cancel the meeting."""
        method, rest = ("DELETE", "") if what == "cancel" else ("POST", f"/{what}")
        self.call(who, method, rest, None if what == "cancel" else {}, lambda: getattr(self.model, what)(who))

    def join(self, who: Identity, passcode: str | None, muted: bool = False, video: bool = True) -> None:
        """Ask for entry."""
        wish = {"passcode": passcode, "join_muted": muted, "join_without_video": not video}
        if who.is_guest:
            wish["display_name"] = f"Guest {who.name}"
        must_wait: list[bool] = []

        def predict() -> None:
            place = self.model.join(who, passcode, muted=muted, video=video)
            must_wait.append(place.status == "waiting")

        done = self._join(who, wish, predict, must_wait)
        if done and must_wait[0]:
            assert done.code == "WAITING_ROOM_REQUIRED"
            assert done.data["position"] == self.model.queue.index(who.name) + 1
        if done:
            assert done.data["participant_id"] == self.seat(who.name)
            assert must_wait[0] or done.data["role"] == self.model.places[who.name].role

    def _join(
        self, who: Identity, wish: dict[str, Any], predict: Callable[[], None], must_wait: list[bool]
    ) -> Answer | None:
        try:
            predict()
        except Refused as refused:
            self.call(who, "POST", "/join", wish, _refuse(refused))
            return None
        done = self.call(who, "POST", "/join", wish, lambda: None, 202 if must_wait[0] else 200)
        return done[0] if done else None

    def leave(self, who: Identity) -> None:
        """Go."""
        self.call(who, "POST", "/leave", {}, lambda: self.model.leave(who))

    def foresee(self, who: Identity, whom: Identity) -> None:
        """Ask what a join would get."""
        body = {} if who == whom else {"user_id": self.people[whom.name].id}
        done = self.call(who, "POST", "/security/validate-access", body, lambda: self.model.foresee(who, whom))
        if done:
            assert {name: done[0].data[name] for name in done[1]} == done[1], (who.name, whom.name)

    def admit(self, who: Identity, chosen: list[str] | None) -> None:
        """Let people in; None for all who wait."""
        body = {"all": True} if chosen is None else {"participant_ids": [self.seat(name) for name in chosen]}
        done = self.call(who, "POST", "/waiting-room/admit", body, lambda: self.model.admit(who, chosen))
        if done:
            told = [person["participant_id"] for person in done[0].data["admitted"]]
            assert told == [self.seat(name) for name in done[1]]

    def deny(self, who: Identity, chosen: list[str]) -> None:
        """Turn people away."""
        body = {"participant_ids": [self.seat(name) for name in chosen]}
        self.call(who, "POST", "/waiting-room/deny", body, lambda: self.model.deny(who, chosen))

    def send_back(self, who: Identity, name: str) -> None:
        """Send somebody back to wait."""
        path = f"/participants/{self.seat(name)}/send-to-waiting-room"
        self.call(who, "POST", path, {}, lambda: self.model.send_back(who, name))

    def remove(self, who: Identity, name: str, ban: bool) -> None:
        """Put somebody out."""
        path = f"/participants/{self.seat(name)}/remove"
        self.call(who, "POST", path, {"ban": ban}, lambda: self.model.remove(who, name, ban=ban))

    def change_role(self, who: Identity, name: str, role: str) -> None:
        """Give somebody another role."""
        self._change(who, name, {"role": role}, lambda: self.model.change_role(who, name, role))

    def change_flag(self, who: Identity, name: str, flag: str, value: bool) -> None:
        """Set somebody's flag."""
        self._change(who, name, {flag: value}, lambda: self.model.change_flag(who, name, flag, value))

    def change_right(self, who: Identity, name: str, right: str, value: bool) -> None:
        """Take a right from somebody, or give it back."""
        self._change(who, name, {right: value}, lambda: self.model.change_right(who, name, right, value))

    def _change(self, who: Identity, name: str, body: dict[str, Any], predict: Callable[[], Any]) -> None:
        self.call(who, "PATCH", f"/participants/{self.seat(name)}", body, predict)

    def change_policy(self, who: Identity, rules: dict[str, Any], replacing: bool) -> None:
        """Replace or change the rules."""
        method = "POST" if replacing else "PATCH"
        rest, wanted = "/security/policy", self._sent(rules)
        self.call(who, method, rest, wanted, lambda: self.model.change_policy(who, rules, replacing=replacing))

    def set_flag(self, who: Identity, flag: str, value: bool) -> None:
        """Set one's own flag."""
        self.call(who, "PUT", "/participants/status", {flag: value}, lambda: self.model.set_flag(who, flag, value))

    def speak(self, who: Identity, to: str | None) -> None:
        """Write a message."""
        self.said += 1
        content = f"message {self.said}"
        body = {"content": content, "message_type": "text", "recipient_id": self.seat(to) if to else None}
        self.call(who, "POST", "/chat", body, lambda: self.model.chat(who, content, to), 201)

    def knock(self, who: Identity, door: str) -> None:
        """Try a door of DOORS; what is shown to whom is compared too."""
        method, rest, body, status, predict = DOORS[door]
        done = self.call(who, method, rest, body, lambda: predict(self.model, who), status)
        if done and door == "history":
            assert {message["content"] for message in done[0].data} == done[1], who.name
        if done and door == "roster":
            assert {one["participant_id"] for one in done[0].data} == {self.seat(name) for name in done[1]}, who.name
        if done and door == "hands":
            assert [one["participant_id"] for one in done[0].data] == [self.seat(name) for name in done[1]], who.name

    def try_doors(self, who: Identity) -> None:
        """Try what nobody may who is out, as somebody whose standing has just become another one."""
        for door in ("roster", "history", "token", "ticket"):
            self.knock(who, door)
        self.speak(who, None)


def _refuse(refused: Refused) -> Callable[[], None]:
    def predict() -> None:
        raise refused

    return predict
