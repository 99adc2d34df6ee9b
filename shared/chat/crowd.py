"""Several people who write to all at the same time, and share a transaction (docs/adr/0012).

One more costs a tenth of a transaction of its own: the streams' rows are taken once, and so is the commit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.chat.models import Message
from shared.chat.queries import no_such_message, readable
from shared.chat.service import MessageWish, Told, check_wish, draft_of, publish
from shared.core.batching import Held, NotTogether
from shared.core.errors import DomainError
from shared.core.ledger import StreamClosed
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.meetings.errors import MeetingNotFound
from shared.participants.membership import Membership, memberships_by_id, memberships_by_user
from shared.policies.cache import get_policies


@dataclass(frozen=True, slots=True)
class Post:
    """What one of several people wants to say to all. `participant_id` is the place of `actor` in the meeting."""

    actor: Actor
    participant_id: str
    wish: MessageWish


def post_all(tx: Transaction, posts: Sequence[Post]) -> list[Told | DomainError]:
    """Write public messages of several people into the chat of one meeting, in this order; return for each what
    `post` returns or raises. Raises StreamClosed."""
    members = memberships_by_id(tx, {one.participant_id for one in posts})
    return _write(tx, [_Writing(members[one.participant_id], one.actor, one.wish) for one in posts])


@dataclass(frozen=True, slots=True)
class Asking:
    """An account that wants to say something in a meeting."""

    meeting_id: str
    actor: Actor
    wish: MessageWish

    @property
    def pair(self) -> tuple[str, str]:
        """Return meeting and user: there is one place for both."""
        return self.meeting_id, self.actor.user_id or ""


Outcome = Told | DomainError | NotTogether


def post_in_several(tx: Transaction, asking: Sequence[Asking], *, waits: bool) -> list[Outcome]:
    """Write messages of several accounts into the chats of their meetings, in this order; return for each what `post`
    returns or raises, or NotTogether: what is private has to be said alone.

    `waits` for what somebody else holds, which must then be one meeting only; or does not, and returns Held instead.
    Raises NotTogether when a meeting has ended meanwhile.
    """
    pairs = {one.pair for one in asking if one.wish.recipient_id is None}
    members = memberships_by_user(tx, pairs, to_tell=not waits)
    writing: list[_Writing] = []
    outcomes: list[Outcome | None] = []
    for one in asking:
        member = members.get(one.pair)
        if one.wish.recipient_id is not None:
            outcomes.append(NotTogether())
        elif member is None:
            outcomes.append(MeetingNotFound() if waits else Held())  # or a stranger, who is told so in turn
        else:
            writing.append(_Writing(member, one.actor, one.wish))
            outcomes.append(None)
    try:
        written = iter(_write(tx, writing))
    except StreamClosed:
        raise NotTogether from None
    return [next(written) if outcome is None else outcome for outcome in outcomes]


@dataclass(frozen=True, slots=True)
class _Writing:
    """Somebody who wants to say something, and their place."""

    membership: Membership
    actor: Actor
    wish: MessageWish


def _write(tx: Transaction, writing: Sequence[_Writing]) -> list[Told | DomainError]:
    policies = get_policies(tx, {one.membership.meeting.id: one.membership.meeting for one in writing}.values())
    replies = {(one.membership.me.id, one.wish.reply_to) for one in writing if one.wish.reply_to is not None}
    known = readable(tx, replies)
    drafts: list[tuple[Message, Actor]] = []
    outcomes: list[DomainError | None] = []
    for one in writing:
        me = one.membership.me
        try:
            check_wish(one.membership, policies[me.meeting_id], one.wish)
            if one.wish.reply_to is not None and (me.id, one.wish.reply_to) not in known:
                raise no_such_message()
            drafts.append((draft_of(tx, me, one.wish), one.actor))
            outcomes.append(None)
        except DomainError as refusal:
            outcomes.append(refusal)
    told = iter(publish(tx, drafts))
    return [next(told) if outcome is None else outcome for outcome in outcomes]
