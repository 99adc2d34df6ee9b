"""Effects: what a hub does beside delivering an event. They travel with the event and are kept in the ledger,
so that a process that was cut off from Redis does the same when it catches up."""

from typing import NamedTuple

from shared.realtime.close_codes import MEETING_ENDED

END = f"end:*:{MEETING_ENDED}"
REDACT = "redact:*:0"


class Effect(NamedTuple):
    """`target` is a participant id or *. Kinds: end and gone close sockets with `code`; redact empties the memory of a
    stream; renew has rights looked up anew; inside, outside, promoted and demoted change which streams somebody hears,
    those that are new from behind the number `code`.
    """

    kind: str
    target: str
    code: int

    def ends(self, participant_id: str) -> bool:
        """Tell whether this closes the sockets of a participant."""
        return self.kind == "end" or (self.kind == "gone" and self.target == participant_id)


def gone(participant_id: str, code: int) -> str:
    """Return the effect that closes a participant's sockets with `code`, after the event was delivered."""
    return f"gone:{participant_id}:{code}"


def renew(participant_id: str = "*") -> str:
    """Return the effect that has what a participant, or everybody, may do looked up anew."""
    return f"renew:{participant_id}:0"


def inside(participant_id: str, seq: int) -> str:
    """Return the effect that lets a participant's sockets hear the meeting from behind `seq` on."""
    return f"inside:{participant_id}:{seq}"


def outside(participant_id: str) -> str:
    """Return the effect after which a participant's sockets hear nothing but their own stream."""
    return f"outside:{participant_id}:0"


def promoted(participant_id: str, seq: int) -> str:
    """Return the effect that lets a participant's sockets hear the stream of hosts from behind `seq` on."""
    return f"promoted:{participant_id}:{seq}"


def demoted(participant_id: str) -> str:
    """Return the effect after which a participant's sockets hear the stream of hosts no more."""
    return f"demoted:{participant_id}:0"


def parse(text: str) -> Effect:
    """Read an effect back."""
    kind, target, code = text.split(":")
    return Effect(kind, target, int(code))
