"""WebSocket close codes (contract 11): 4000 to 4499 come back, 4500 to 4999 do not."""

NORMAL = 1000
PROTOCOL_ERROR = 1002
NOT_TEXT = 1003
POLICY_VIOLATION = 1008
MALFORMED = 1007
TOO_BIG = 1009
INTERNAL = 1011
GOING_AWAY = 1012
TOKEN_ENDED = 4401
STALE = 4408
TOO_FAST_OR_SLOW = 4429
REMOVED = 4503
MEETING_ENDED = 4510

MEANINGS = {
    NORMAL: "You left, or the other side closed.",
    PROTOCOL_ERROR: "The frames break RFC 6455.",
    NOT_TEXT: "A binary message; only text is understood.",
    MALFORMED: "Three frames were not valid JSON, or text was not UTF-8.",
    POLICY_VIOLATION: "The frames break a rule of this service.",
    TOO_BIG: "A message was larger than 64 KiB.",
    INTERNAL: "An error of ours; come back with `since`.",
    GOING_AWAY: "The process is restarting; come back with `since`, at once.",
    TOKEN_ENDED: "The token expired or was revoked; renew it, then come back.",
    STALE: "Nothing was heard from you for 25 seconds; come back with `since`.",
    TOO_FAST_OR_SLOW: "You read too slowly or sent too fast; come back with `since`.",
    REMOVED: "You were removed or denied; do not come back.",
    MEETING_ENDED: "The meeting has ended; do not come back.",
}
