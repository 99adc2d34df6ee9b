"""Other servers that do the same work: what a client sends goes through Redis to everybody in its room.

Each is written as its own documentation shows it, without authorisation, validation or storage. They run in an
environment of their own (bench/requirements.txt) and read REDIS_URL.
"""
