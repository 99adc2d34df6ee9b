"""Orders to all web processes, on one channel. Each only makes them look sooner at what the database says anyway,
or frees a resource; losing one does no harm."""


def end_session(session_id: str) -> str:
    """Return the order to close the sockets of a session that was revoked."""
    return f"session {session_id}"


def close_connection(connection_id: str) -> str:
    """Return the order to close one connection, because its owner has too many."""
    return f"connection {connection_id}"
