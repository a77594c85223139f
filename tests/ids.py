import time
import uuid


def new_id(ago: float = 0) -> uuid.UUID:
    """As the database makes them (UUIDv7), so many seconds ago."""
    milliseconds = int((time.time() - ago) * 1000)
    random = uuid.uuid4().int
    return uuid.UUID(int=(milliseconds << 80) | (7 << 76) | (2 << 62) | (random & ((1 << 62) - 1)))
