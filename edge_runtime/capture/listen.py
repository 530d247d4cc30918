"""Waiting for one source, for commands that do nothing else meanwhile."""

import select
import threading
import time
from collections.abc import Iterator

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
            _wait(source.fileno())


def _wait(file: int | None) -> None:
    if file is None:
        time.sleep(WAIT_S)
    else:
        select.select([file], [], [], WAIT_S)
