"""The door: how a request gets in. Four steps, in one transaction, for every route alike.

1. Who asks? (401)  2. How often? (429)  3. What is wanted? (422)  4. One service function; its answer.

The answer to a POST with an Idempotency-Key is stored in the same transaction. A transaction that the database undid
because of a concurrent one is run again, at most RETRIES times: nothing of it had left.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal

from flask import Response, g, request
from flask_smorest import Blueprint

from shared.core import errors
from shared.core.database import TransactionConflict
from shared.core.idempotency import StoredAnswer
from shared.core.idempotency import begin as begin_once
from shared.core.idempotency import finish as finish_once
from shared.core.transaction import Transaction
from shared.identity.actor import Actor
from shared.identity.errors import InsufficientScope, KeyNotAccepted
from shared.identity.scopes import Scope
from shared.meetings.errors import MeetingNotFound
from shared.participants.permissions import Permission
from shared.policies import cache as policy_cache
from web.http import documentation
from web.http.actor import actor_of, bearer, has_credential
from web.http.admission import SHARING, may_share, work_alone
from web.http.limits import client, count_message, limited
from web.http.refusals import current_refusals
from web.http.reply import Reply, failure_response, json_response, replay, success_body
from web.http.runtime import current_runtime
from web.http.schema import Empty, Schema
from web.http.together import Together, Waiting, sharing
from web.http.tokens import Claims
from web.http.wanted import READING, keyed_request, wanted_by

RETRIES = 3
Who = Literal["user", "member", "anyone", "refresh"]
_KINDS: dict[str, tuple[Any, ...]] = {
    "user": ("access",),
    "member": ("access", "guest"),
    "anyone": ("access", "guest"),
    "refresh": ("refresh",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One operation of the API, as declared.

    who         user: an account; member: an account or a guest; anyone: also without credential; refresh: the holder
                of a refresh token
    takes       schema of the body; None for none
    query       schema of the query string; None for none
    gives       schema of `data`; `many` when it is a list
    permission  what the actor must be allowed to do, which the service asks for; None: nothing to do with meetings
    limit       name of the rate limit
    together    does several requests that came at the same time; None: each is done by itself
    prepare     runs before the transaction, on the wanted fields: for slow work such as passwords
    guarded     whether naming a meeting that does not exist counts as a guess: who guesses too often is told so
    act         what a refusal is called in the audit trail, where the permission covers several acts
    refusals    the errors this door can answer with, for the documentation
    """

    method: str
    path: str
    function: Callable[..., Any]
    who: Who
    permission: Permission | None
    takes: Schema
    query: Schema | None
    gives: Schema
    many: bool
    status: int
    limit: str
    together: Together | None
    prepare: Callable[[dict[str, Any]], dict[str, Any]] | None
    consistent: bool
    guarded: bool
    message: str
    act: str | None
    refusals: tuple[type[errors.DomainError], ...]

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """Return what an API key must have been made for; none: this door takes no keys."""
        return self.permission.scopes if self.permission else ()

    def serve(self, claims: Claims | None, path: dict[str, Any]) -> Response:
        """Answer a request whose sender was found out and counted."""
        g.actor = None
        self._check_scopes(claims)
        early = wanted_by(self.takes, self.query) if self.prepare else None
        if self.prepare and early is not None:
            early = self.prepare(early)
        if "meeting_id" in path:
            policy_cache.warm(current_runtime().tools.cache, path["meeting_id"])
        if self.together is not None and claims is not None and claims.kind == "access" and may_share():
            return self._serve_together(self.together, claims, path)
        return self._serve_alone(claims, path, early)

    def _serve_together(self, together: Together, claims: Claims, path: dict[str, Any]) -> Response:
        try:
            asked = Waiting(claims, path, wanted_by(self.takes, self.query), keyed_request(claims))
        except errors.DomainError:  # to be told to who is who they say: that is found out first
            return self._serve_alone(claims, path, None)
        told = sharing(f"{self.method} {self.path}", together, self._answer_of).do(asked)
        if told is None:
            return self._serve_alone(claims, path, asked.wanted)
        g.actor = told.actor
        if isinstance(told.outcome, errors.DomainError):
            self.note(told.outcome, told.actor, path)
            raise told.outcome
        return self._respond(told.outcome)

    def _serve_alone(self, claims: Claims | None, path: dict[str, Any], early: dict[str, Any] | None) -> Response:
        work_alone()
        for attempt in range(RETRIES + 1):
            try:
                response, refusal = self._transact(claims, path, early)
            except TransactionConflict:
                if attempt == RETRIES:
                    raise
            except errors.DomainError as undone:
                self.note(undone, g.actor, path)
                raise
            else:
                if refusal is not None:
                    self.note(refusal, g.actor, path)
                return response
        raise AssertionError("unreachable")

    def _check_scopes(self, claims: Claims | None) -> None:
        if claims is not None and claims.scopes is not None and not set(self.scopes) <= set(claims.scopes):
            raise InsufficientScope(details={"required": list(self.scopes), "granted": list(claims.scopes)})

    def note(self, refusal: errors.DomainError, actor: Actor | None, path: dict[str, Any]) -> None:
        """Let the audit trail know of a refusal to somebody known, now that its transaction is over."""
        if actor is not None and self.permission is not None and "meeting_id" in path:
            operation = f"{self.method} {self.path.removeprefix('/api/v1')}"
            target = path.get("participant_id")
            current_refusals().note(
                refusal, path["meeting_id"], actor, self.permission, operation, act=self.act, target_id=target
            )

    def _transact(
        self, claims: Claims | None, path: dict[str, Any], early: dict[str, Any] | None
    ) -> tuple[Response, errors.DomainError | None]:
        """Return the answer, and the refusal if it is one that was committed."""
        runtime = current_runtime()
        reads = request.method in READING
        begin = runtime.reading if reads else runtime.transaction
        with begin(consistent=self.consistent) as tx:
            actor = g.actor = None if claims is None or self.who == "refresh" else actor_of(tx, claims)
            wanted = wanted_by(self.takes, self.query) if early is None else early
            once = keyed_request(claims)
            stored = begin_once(tx, once) if once else None
            if stored is not None:
                return replay(stored), None
            reply = self._reply(tx, actor, claims, path, wanted)
            response = self._respond(reply) if reply.refusal is None else failure_response(reply.refusal)
            if once:
                finish_once(tx, once, StoredAnswer(response.status_code, response.get_data()))
        return response, reply.refusal

    def _reply(
        self, tx: Transaction, actor: Actor | None, claims: Claims | None, path: dict[str, Any], wanted: dict[str, Any]
    ) -> Reply:
        try:
            result = self._call(tx, actor, claims, path, wanted)
        except errors.DomainError as refusal:
            if not refusal.is_kept:
                raise
            return Reply(refusal=refusal)
        return result if isinstance(result, Reply) else Reply(result)

    def _call(
        self, tx: Transaction, actor: Actor | None, claims: Claims | None, path: dict[str, Any], wanted: dict[str, Any]
    ) -> Any:
        if self.who == "refresh":
            return self.function(tx, claims, **path, **wanted)
        if self.who == "anyone" and not has_credential():
            return self.function(tx, None, **path, **wanted)
        return self.function(tx, actor, **path, **wanted)

    def _respond(self, outcome: Reply | StoredAnswer) -> Response:
        answer = outcome if isinstance(outcome, StoredAnswer) else self._answer_of(outcome)
        return json_response(answer.body, answer.status)

    def _answer_of(self, reply: Reply) -> StoredAnswer:
        data = reply.data if reply.data is None else self.gives.dump(reply.data, many=self.many)
        body = success_body(data, reply.message or self.message, code=reply.code, pagination=reply.pagination)
        return StoredAnswer(reply.status or self.status, body)


# Every operation there is, in the order of declaration: what contract tests and the reference go through.
DOORS: list[Door] = []


def door(
    blueprint: Blueprint,
    method: str,
    rule: str,
    *,
    permission: Permission | None,
    gives: Schema,
    who: Who = "member",
    takes: Schema | None = None,
    query: Schema | None = None,
    many: bool = False,
    status: int = 200,
    limit: str | None = None,
    together: Together | None = None,
    prepare: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    consistent: bool = False,
    guarded: bool = False,
    act: str | None = None,
    message: str = "OK",
    refusals: tuple[type[errors.DomainError], ...] = (),
    also: dict[int, str] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function `(tx, actor, **path, **wanted) -> data | Reply` as the operation `method rule`.

    `also` documents further success statuses. The function's docstring becomes the documentation.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        made = Door(
            method=method,
            path=(blueprint.url_prefix or "") + rule,
            function=function,
            who=who,
            permission=permission,
            takes=takes or Empty(),
            query=query,
            gives=gives,
            many=many,
            status=status,
            limit=limit or ("reads" if method == "GET" else "participants"),
            together=together,
            prepare=prepare,
            consistent=consistent,
            guarded=guarded,
            message=message,
            act=act,
            refusals=refusals,
        )
        DOORS.append(made)
        if together is not None:
            SHARING.add(f"{blueprint.name}.{function.__name__}")
        view = _view(f"{blueprint.name}_{function.__name__}", made)
        described = documentation.describe(view, method, made, also or {}, takes is not None)
        blueprint.route(rule, methods=[method])(described)
        return function

    return register


def _view(name: str, made: Door) -> Callable[..., Response]:
    """Return what Flask calls for a door: finds out who asks, counts them, and lets the door serve them."""
    counted = _counted(name, made)

    @wraps(made.function)
    def view(**path: Any) -> Response:
        claims = _credential(made, path)
        g.limit_key = _counted_by(claims, path)
        try:
            return counted(claims, path)
        except MeetingNotFound:
            if made.guarded:  # only misses are refused: the neighbours behind one address still get in
                count_message("misses", g.limit_key)
            raise
        except InsufficientScope as refusal:
            made.note(refusal, Actor(name="", user_id=claims.subject if claims else None), path)
            raise

    return view


def _counted_by(claims: Claims | None, path: dict[str, Any]) -> str:
    """Return what a request is counted by. A guest of another meeting is nobody here: such tokens cost nothing."""
    is_stranger = claims is None or (
        claims.kind == "guest" and "meeting_id" in path and path["meeting_id"] != claims.reference
    )
    return client() if claims is None or is_stranger else claims.subject


def _counted(name: str, made: Door) -> Callable[[Claims | None, dict[str, Any]], Response]:
    def serve(claims: Claims | None, path: dict[str, Any]) -> Response:
        return made.serve(claims, path)

    serve.__name__ = serve.__qualname__ = name
    return limited(made.limit, serve)


def _credential(made: Door, path: dict[str, Any]) -> Claims | None:
    if made.who == "anyone" and not has_credential():
        return None
    try:
        return bearer(*_KINDS[made.who], takes_keys=bool(made.scopes))
    except KeyNotAccepted as refusal:
        made.note(refusal, Actor(name="", user_id=refusal.owner_id), path)
        raise
