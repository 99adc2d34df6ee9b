"""What must be true of the database after whatever happened, asked in SQL. Each question returns what breaks it."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, text

from tests.faults.checker import Row

OUTBOX_MINUTES = 10

QUESTIONS = {
    "I1 the numbers of a stream are 1, 2, 3 … up to its head": """
        SELECT s.key || ' stands at ' || s.seq || ' and has ' || count(e.seq) || ' events'
          FROM streams s LEFT JOIN events e ON e.stream = s.key
         GROUP BY s.key, s.seq, s.archived_seq
        HAVING count(e.seq) <> s.seq - s.archived_seq OR coalesce(max(e.seq), s.archived_seq) <> s.seq
            OR coalesce(min(e.seq), s.archived_seq + 1) <> s.archived_seq + 1""",
    "I1 what is archived has a tombstone": """
        SELECT s.key || ' is archived up to ' || s.archived_seq || ' and has tombstones for ' || sum(t.event_count)
          FROM streams s LEFT JOIN ledger_tombstones t ON t.stream = s.key
         GROUP BY s.key, s.archived_seq HAVING coalesce(sum(t.event_count), 0) <> s.archived_seq""",
    "I1 every event belongs to a stream": """
        SELECT e.stream || ' ' || e.seq FROM events e LEFT JOIN streams s ON s.key = e.stream WHERE s.key IS NULL""",
    "I3 seats taken are the attendees inside": """
        SELECT m.id || ' has ' || m.seats_taken || ' seats taken, ' || count(p.id) || ' attendees inside'
          FROM meetings m LEFT JOIN meeting_participants p
            ON p.meeting_id = m.id AND p.status = 'joined' AND p.role = 'attendee'
         GROUP BY m.id, m.seats_taken HAVING m.seats_taken <> count(p.id)""",
    "I3 no more seats are taken than there are": """
        SELECT m.id || ' has ' || m.seats_taken || ' of ' || p.max_participants
          FROM meetings m JOIN policies p ON p.meeting_id = m.id WHERE m.seats_taken > p.max_participants""",
    "I4 who is inside has one open stay, and nobody else has one": """
        SELECT p.id || ' is ' || p.status || ' with ' || count(s.id) || ' open stays'
          FROM meeting_participants p LEFT JOIN stays s ON s.participant_id = p.id AND s.left_at IS NULL
         GROUP BY p.id, p.status
        HAVING count(s.id) <> CASE WHEN p.status = 'joined' THEN 1 ELSE 0 END""",
    "I5 a stay does not end before it begins": """
        SELECT id FROM stays WHERE left_at < entered_at OR left_seq < entered_seq""",
    "I5 no stay is open in a meeting that is over": """
        SELECT s.id FROM stays s JOIN meetings m ON m.id = s.meeting_id
         WHERE s.left_at IS NULL AND m.status <> 'in_progress'""",
    "I12 nothing follows the end of a meeting": """
        SELECT later.stream || ' ' || later.seq || ' ' || later.type
          FROM events ended JOIN events later ON later.stream = ended.stream AND later.seq > ended.seq
         WHERE ended.type = 'meeting_status' AND ended.data LIKE '{"action":"ended"%'""",
    "I14 a job is done or dead within ten minutes": f"""
        SELECT id || ' ' || name || ' ' || state || ' after ' || attempts || ' attempts: ' || coalesce(error, '')
          FROM outbox WHERE state NOT IN ('done', 'dead')
           AND created_at < now() - interval '{OUTBOX_MINUTES} minutes'""",
    "I14 what is done was begun, and has an end": """
        SELECT id || ' ' || name FROM outbox WHERE state = 'done' AND (attempts < 1 OR finished_at IS NULL)""",
}


def violations(connection: Connection) -> list[str]:
    """Ask everything. PostgreSQL only."""
    found: list[str] = []
    for question, statement in QUESTIONS.items():
        found.extend(f"{question}: {row[0]}" for row in connection.execute(text(statement)))
    return found


def rows_of(connection: Connection, streams: Iterable[str]) -> list[Row]:
    """Return whole streams of the ledger, as the checker wants them."""
    found = connection.execute(
        text("SELECT stream, seq, type, data FROM events WHERE stream = ANY(:streams) ORDER BY stream, seq"),
        {"streams": sorted(streams)},
    )
    return [Row(row.stream, row.seq, _key(row.type, row.data)) for row in found]


def heads_of(connection: Connection, streams: Iterable[str]) -> dict[str, int]:
    """Return where streams stand."""
    found = connection.execute(
        text("SELECT key, seq FROM streams WHERE key = ANY(:streams)"), {"streams": sorted(streams)}
    )
    return {row.key: row.seq for row in found}


def _key(type_: str, data: str) -> str | None:
    """Return the key that a client put first into what it said; None for other events."""
    if type_ != "chat":
        return None
    said: dict[str, Any] = json.loads(data)
    return said["content"].split(" ")[0] if said["action"] == "posted" else None
