"""Waiting for sources; and one source as a stream, for commands that do nothing else meanwhile."""

import select
import threading
from collections.abc import Iterable, Iterator

from edge_runtime.capture import Block, Source

WAIT_S = 0.05  # seconds


def until(source: Source, stop: threading.Event, samples: int | None = None) -> Iterator[Block]:
    """What a source gives until it ends, `stop` is set, or `samples` samples came, where the last block is cut."""
    left = samples
    while not (source.ended or stop.is_set()):
        empty = True
        for block in source.take():
            empty = False
            if left is not None and len(block.samples) >= left:
                yield Block(block.samples[:left], block.at_s, block.lost, block.new)
                return
            yield block
            left = None if left is None else left - len(block.samples)
        if empty and not source.ended:
            wait([source.fileno()], WAIT_S)


def wait(files: Iterable[int | None], seconds: float) -> None:
    """Until one of them can be read, for so long at most."""
    poll = select.poll()  # select() knows no file beyond the 1024th
    for file in files:
        if file is not None:
            poll.register(file, select.POLLIN)
    poll.poll(1e3 * seconds)
