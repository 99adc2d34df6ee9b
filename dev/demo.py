"""`make demo`: a meeting of five people against a running server, checked as it happens.

    python -m dev.demo [URL]        (default: http://HOST:PORT, 127.0.0.1:8000)

Everybody is a real client over HTTP and WebSocket. Prints the transcript; exits with 1 at the first thing that is not
as the contract says.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

from dev.environment import reachable
from dev.http_client import Answer, Api, Json, Unexpected
from dev.websocket_client import Closed, Refused, Socket

NAMES = ("Ada", "Ben", "Chloe", "Dev", "Eve")
COLOURS = ("36", "33", "35", "32", "34")


@dataclass(slots=True)
class Person:
    """Somebody in the demo: an account, a seat, a socket."""

    name: str
    colour: str
    api: Api
    seat: Json = field(default_factory=dict)
    socket: Socket | None = None
    last_seq: int = 0

    @property
    def ws(self) -> Socket:
        """Return the open socket."""
        assert self.socket is not None
        return self.socket

    def hear(self, type_: str) -> Json:
        """Wait for the next frame of a type, and hold the stream against its promise: no hole, no repetition."""
        return self.ws.until(lambda frame: self._counts(frame) and frame["type"] == type_)

    def _counts(self, frame: Json) -> bool:
        if frame.get("stream") == "meeting":
            expect(frame["seq"] == self.last_seq + 1, f"{self.name} heard seq {frame['seq']} after {self.last_seq}")
            self.last_seq = frame["seq"]
        return True


class Failed(Exception):
    """Something was not as the contract says."""


def expect(holds: bool, otherwise: str) -> None:
    """Raise Failed unless it holds."""
    if not holds:
        raise Failed(otherwise)


class Demo:
    """The script, scene by scene."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.people: list[Person] = []
        self.meeting_id = ""
        self._began = time.monotonic()
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def run(self) -> None:
        """Play all scenes. Raises Failed and what the client raises."""
        scenes: tuple[Callable[[], None], ...] = (
            self.register,
            self.create_and_start,
            self.join,
            self.connect,
            self.chat_from_both_doors,
            self.chat_in_private,
            self.react_and_raise_hands,
            self.drop_and_resume,
            self.leave,
            self.end,
        )
        for number, scene in enumerate(scenes, 1):
            self._title(number, scene.__name__.replace("_", " "))
            scene()

    # --- scenes

    def register(self) -> None:
        """Everybody makes an account."""
        for name, colour in zip(NAMES, COLOURS, strict=True):
            api = Api(self.url)
            account = {"email": f"{name.lower()}.{token_hex(4)}@example.com", "name": name}
            signed_in = self._ok(api.post("/auth/register", {**account, "password": token_hex(12)}), 201)
            api.token = signed_in["access_token"]
            self.people.append(Person(name, colour, api))
            self._say(self.people[-1], f"registers as {account['email']}")

    def create_and_start(self) -> None:
        """Ada makes a meeting; nobody can join before she starts it."""
        ada, ben, *_ = self.people
        meeting = self._ok(ada.api.post("/meetings", {"title": "Planning the launch"}), 201)
        self.meeting_id = meeting["meeting_id"]
        self._say(ada, f"creates “{meeting['title']}” {self.meeting_id}, {meeting['status']}")
        early = ben.api.post(self._path("/join"))
        expect((early.status, early.code) == (400, "MEETING_NOT_ACTIVE"), f"joining early answered {early}")
        self._say(ben, f"is too early: {early.status} {early.code}")
        self._ok(ada.api.post(self._path("/start")))
        self._say(ada, "starts it")

    def join(self) -> None:
        """Everybody takes a seat; joining twice is the same seat."""
        for person in self.people:
            person.seat = self._ok(person.api.post(self._path("/join"), {"device_type": "desktop"}))
            self._say(person, f"joins as {person.seat['role']}")
        again = self._ok(self.people[1].api.post(self._path("/join")))
        expect(again["participant_id"] == self.people[1].seat["participant_id"], "joining again gave a second seat")
        self._say(self.people[1], "joins again, and keeps the one seat")
        inside = self._ok(self.people[0].api.get(self._path("/participants")))
        expect([p["user_name"] for p in inside] == list(NAMES), f"the list of participants is {inside}")

    def connect(self) -> None:
        """Everybody opens the WebSocket: one with a token in the header, the others, like browsers, with a ticket."""
        for person in self.people:
            if person is self.people[0]:
                person.socket = Socket.open(self.url, self.meeting_id, token=person.api.token)
                how = "with a Bearer token"
            else:
                ticket = self._ok(person.api.post(self._path("/ws-ticket")), 201)["ticket"]
                person.socket = Socket.open(self.url, self.meeting_id, ticket=ticket)
                how = "with a one-time ticket"
            person.last_seq = person.ws.welcome["data"]["cursors"]["meeting"]
            self._say(person, f"connects {how}; the stream stands at {person.last_seq}")
        self._expect_refused("a ticket used twice", 401, ticket=ticket)

    def chat_from_both_doors(self) -> None:
        """A message over the WebSocket and one over REST; all five hear both, in the same order."""
        ada, ben, *_ = self.people
        self._say(ada, "writes over the WebSocket: Welcome!")
        ack = ada.ws.request("chat", {"content": "Welcome!"}, "m1")
        expect(ack["type"] == "ack" and ack["stream"] == "meeting", f"the chat was answered by {ack}")
        self._say(ben, "writes over REST: Hello everybody")
        posted = self._ok(ben.api.post(self._path("/chat"), {"content": "Hello everybody"}), 201)
        expect(posted["seq"] == ack["seq"] + 1, f"REST gave seq {posted['seq']} after {ack['seq']}")
        for person in self.people:
            for seq, text in ((ack["seq"], "Welcome!"), (posted["seq"], "Hello everybody")):
                frame = person.hear("chat")
                expect((frame["seq"], frame["data"]["content"]) == (seq, text), f"{person.name} heard {frame}")
        self._say(None, f"all five heard both, as {ack['seq']} and {posted['seq']}")
        again = ada.ws.request("chat", {"content": "Welcome!"}, "m1")
        expect(again["seq"] == ack["seq"], f"the same frame again became {again}")
        self._say(ada, "sends the first one again, with the same id: it is the same message")

    def chat_in_private(self) -> None:
        """Chloe writes to Dev; the host cannot see that anything happened."""
        ada, ben, chloe, dev, _eve = self.people
        wanted = {"content": "Lunch?", "recipient_id": dev.seat["participant_id"]}
        posted = self._ok(chloe.api.post(self._path("/chat"), wanted), 201)
        expect(posted["is_private"] and posted["stream"] == "me", f"the private message is {posted}")
        heard = dev.hear("chat")
        expect(heard["stream"] == "me" and heard["data"]["content"] == "Lunch?", f"Dev heard {heard}")
        self._say(chloe, "asks Dev in private: Lunch?")
        marker = self._ok(ben.api.post(self._path("/chat"), {"content": "Shall we begin?"}), 201)
        for person in self.people:
            frame = person.hear("chat")
            if person is chloe:
                expect(frame["stream"] == "me", f"Chloe heard {frame}")
                frame = person.hear("chat")
            expect(frame["seq"] == marker["seq"], f"{person.name} heard {frame}")
        texts = [m["content"] for m in self._ok(ada.api.get(self._path("/chat")))]
        expect("Lunch?" not in texts and "Shall we begin?" in texts, f"the host reads {texts}")
        self._say(ada, f"reads {len(texts)} messages; the private one is not among them, and there is no hole")

    def react_and_raise_hands(self) -> None:
        """A reaction, which nobody keeps, and two hands, in the order they went up."""
        _ada, ben, chloe, _dev, eve = self.people
        eve.ws.send("reaction", {"reaction_type": "clap"})
        for person in self.people:
            frame = person.hear("reaction")
            expect(frame["seq"] is None and frame["data"]["user_name"] == "Eve", f"{person.name} heard {frame}")
        self._say(eve, "claps, and all see it")
        for person in (chloe, ben):
            ack = person.ws.request("hand_raise", {"is_hand_raised": True}, f"hand-{person.name}")
            expect(ack["type"] == "ack" and ack["seq"] is not None, f"raising a hand was answered by {ack}")
            self._say(person, "raises a hand")
        raised = [p["user_name"] for p in self._ok(eve.api.get(self._path("/hands")))]
        expect(raised == ["Chloe", "Ben"], f"the hands are {raised}")
        for person in self.people:
            for _ in range(2):
                person.hear("hand_raise")

    def drop_and_resume(self) -> None:
        """Dev's network dies while others talk; he comes back and hears all he missed, once, in order."""
        ada, _ben, _chloe, dev, _eve = self.people
        dev.ws.drop()
        self._say(dev, f"loses the network at {dev.last_seq}")
        for number in range(1, 4):
            self._ok(ada.api.post(self._path("/chat"), {"content": f"Point {number}"}), 201)
        self._say(ada, "makes three points meanwhile")
        ticket = self._ok(dev.api.post(self._path("/ws-ticket")), 201)["ticket"]
        dev.socket = Socket.open(self.url, self.meeting_id, ticket=ticket, since=f"meeting:{dev.last_seq}")
        expect(dev.ws.welcome["data"]["recovered"], f"the resume was answered by {dev.ws.welcome}")
        points = [dev.hear("chat")["data"]["content"] for _ in range(3)]
        expect(points == ["Point 1", "Point 2", "Point 3"], f"Dev heard {points}")
        self._say(dev, f"is back, and hears {', '.join(points)}: nothing lost, nothing twice")

    def leave(self) -> None:
        """Eve leaves; her socket is closed, and everybody is told."""
        ada, *_, eve = self.people
        left = self._ok(eve.api.post(self._path("/leave")))
        self._say(eve, f"leaves after {left['duration_minutes'] * 60:.1f} s")
        frame = ada.hear("leave")
        expect(frame["data"]["user_name"] == "Eve", f"Ada heard {frame}")
        expect(eve.ws.closed().code == 1000, "Eve's socket was not closed with 1000")

    def end(self) -> None:
        """Ada ends the meeting: every socket is closed for good, and every door is shut."""
        ada, ben, *_ = self.people
        over = self._ok(ada.api.post(self._path("/end")))
        self._say(ada, f"ends the meeting after {over['duration_minutes'] * 60:.1f} s")
        for person in self.people[:-1]:
            frame = person.hear("meeting_status")
            expect(frame["data"]["status"] == "completed", f"{person.name} heard {frame}")
            code = person.ws.closed().code
            expect(code == 4510, f"{person.name}'s socket was closed with {code}")
        late = ben.api.post(self._path("/join"))
        expect((late.status, late.code) == (410, "MEETING_ENDED"), f"joining late answered {late}")
        self._say(ben, f"is too late: {late.status} {late.code}")
        events = self._ok(ada.api.get(self._path("/events?limit=200")))
        expect([e["seq"] for e in events] == list(range(1, len(events) + 1)), "the ledger has a hole")
        self._say(None, f"the ledger holds {len(events)} events, 1 to {len(events)} without a hole")

    # --- helpers

    def _path(self, rest: str) -> str:
        return f"/meetings/{self.meeting_id}{rest}"

    @staticmethod
    def _ok(answer: Answer, status: int = 200) -> Any:
        expect(answer.status == status, f"expected {status}, got {answer.status}: {answer.body}")
        return answer.data

    def _expect_refused(self, what: str, status: int, *, ticket: str) -> None:
        try:
            Socket(self.url, self.meeting_id, ticket=ticket)
        except Refused as refused:
            expect(refused.answer.status == status, f"{what} was answered by {refused}")
            self._say(None, f"{what} is refused: {status} {refused.answer.code}")
        else:
            raise Failed(f"{what} was accepted")

    def _title(self, number: int, text: str) -> None:
        line = f"{number:2}. {text}"
        print(f"\n\033[1m{line}\033[0m" if self._colour else f"\n{line}", flush=True)

    def _say(self, person: Person | None, text: str) -> None:
        name = f"{person.name if person else '':>6}"
        if person and self._colour:
            name = f"\033[{person.colour}m{name}\033[0m"
        print(f"{time.monotonic() - self._began:7.2f}s {name}  {text}", flush=True)


def main() -> int:
    """Run the demo and return the exit code."""
    default = f"http://{reachable(os.environ.get('HOST', '127.0.0.1'))}:{os.environ.get('PORT', '8000')}"
    url = sys.argv[1] if len(sys.argv) > 1 else default
    print(f"A meeting of {len(NAMES)} people at {url}")
    demo = Demo(url)
    try:
        demo.run()
    except ConnectionRefusedError:
        print(f"\nNobody answers at {url}. Start the server in another terminal: make run", file=sys.stderr)
        return 1
    except (Failed, Unexpected, Refused, Closed, OSError, KeyError) as broken:
        print(f"\nNOT as the contract says: {type(broken).__name__}: {broken}", file=sys.stderr)
        return 1
    print("\nEverything was as the contract says.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
