"""What must outlive the process: alarm states, their history, people's requests. SQLite, imported by who needs it.

FOLDER/journal.db          written by the one process that listens; others write requests into it and read
FOLDER/listening.lock      held by that process for as long as it lives, its pid inside
FOLDER/journal.db.aside-1  a file that could not be read, set aside
"""

from edge_runtime.journal.journal import Journal
from edge_runtime.journal.rows import Beat, Entry, Heard, Moment, Request
from edge_runtime.journal.visitor import Visitor

__all__ = ["Beat", "Entry", "Heard", "Journal", "Moment", "Request", "Visitor"]
