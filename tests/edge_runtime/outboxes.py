"""Numbered messages for an outbox."""

import msgspec

from edge_runtime.outputs.message import message
from tests.edge_runtime.telling import told


def numbered(number):
    return msgspec.structs.replace(message(told(), "plant"), id=f"{number:032d}")


def numbers(outbox):
    """All that waits, taken out in order -> (number, how many were dropped before it)."""
    found = []
    while entry := outbox.first():
        found.append((int(entry.message.id), entry.message.dropped))
        outbox.done(entry)
    return found
