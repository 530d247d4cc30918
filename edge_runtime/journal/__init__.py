"""What must outlive the process: alarm states, their history, scores, people's requests. SQLite, imported late.

FOLDER/journal.db          written by the one process that listens; others write requests into it and read
FOLDER/live.json           leads to how everything is right now, in memory
FOLDER/listening.lock      held by that process for as long as it lives, its pid inside
FOLDER/journal.db.aside-1  a file that could not be read, set aside
"""

from typing import TYPE_CHECKING, Any

from edge_runtime.journal.rows import (
    Beat,
    Entry,
    Heard,
    Latency,
    Listened,
    Microphone,
    Moment,
    Notice,
    Recorded,
    Request,
    Sign,
    Spell,
)

if TYPE_CHECKING:
    from edge_runtime.journal.journal import Journal
    from edge_runtime.journal.visitor import Visitor

__all__ = [
    "Beat", "Entry", "Heard", "Journal", "Latency", "Listened", "Microphone", "Moment", "Notice", "Recorded", "Request",
    "Sign", "Spell", "Visitor",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """SQLite is loaded by who opens a journal: a listener without one has no room for it."""
    if name == "Journal":
        from edge_runtime.journal.journal import Journal

        return Journal
    if name == "Visitor":
        from edge_runtime.journal.visitor import Visitor

        return Visitor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
