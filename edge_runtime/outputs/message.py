"""What a webhook sends of a change: JSON, as every output is told of it, and what tells messages apart."""

import uuid

import msgspec

from edge_runtime import utc
from edge_runtime.outputs import Told

LONGEST_WORDS = 2000  # characters of a reason, a name, a remark
LONGEST = 65_536  # bytes of a message: what its words come to, and more


class Message(Told, frozen=True, kw_only=True):
    """What a receiver gets."""

    id: str  # of this message, the same at every try
    site: str  # its name in the site file
    queued: str  # UTC, ISO 8601: when it was queued; `time` is when it was heard
    dropped: int = 0  # messages right before it that the queue had no room for


def message(told: Told, site: str) -> Message:
    """With an id that no other has."""
    change = told.change
    return Message(
        change=msgspec.structs.replace(change, who=_cut(change.who), why=_cut(change.why)),
        at_s=told.at_s,
        time=told.time,
        score=told.score,
        reason=_cut(told.reason),
        id=uuid.uuid4().hex,
        site=_cut(site),
        queued=utc.now(),
    )


def _cut(words: str) -> str:
    """What people type may be long, and no Unicode."""
    return words[:LONGEST_WORDS].encode(errors="replace").decode()
