"""Sound from files, in the same blocks as from a microphone."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path

from edge_runtime.capture import Block, Change
from edge_runtime.sound import check_length, read_blocks

WHOLE_S, REAL_S = 1.0, 0.1  # seconds a block, as fast as possible and in real time


class FileSource:
    """Files one after another, each a recording of its own; all are checked before the first is played."""

    drift_ppm: float | None = None

    def __init__(
        self,
        paths: Sequence[str | Path],
        sample_rate: int,
        realtime: bool = False,
        channels: Sequence[int] = (0,),
        shortest: int = 1,  # samples that every file must hold: the window
        clock: Callable[[], float] = time.monotonic,  # seconds
    ) -> None:
        self.paths = [Path(path) for path in paths]
        self.name = str(self.paths[0]) + (f" and {len(self.paths) - 1} more" if len(self.paths) > 1 else "")
        self.ended = False
        self._rate, self._realtime, self._channels = sample_rate, realtime, list(channels)
        for path in self.paths:
            for channel in channels:
                check_length(path, sample_rate, channel, shortest)
        self._clock, self._given = clock, 0
        self._began: float | None = None
        self._blocks = self._all()
        self._next: Block | None = None

    def take(self) -> Iterator[Block]:
        """At most one block: the next one, or, in real time, the next one once its last sample would have sounded."""
        if self._began is None:
            self._began = self._clock()
        if self._next is None:
            self._next = next(self._blocks, None)
        block = self._next
        if block is None:
            self.ended = True
        elif not self._realtime or self._clock() - self._began >= block.at_s:
            self._next = None
            yield block

    def changes(self) -> Iterable[Change]:
        """A file is always heard."""
        return ()

    def fileno(self) -> int | None:
        """A file is always ready."""
        return None

    def close(self) -> None:
        """End the file at hand."""
        self.ended, self._next = True, None
        self._blocks.close()

    def _all(self) -> Generator[Block, None, None]:
        for path in self.paths:
            new: str | None = str(path)
            for samples in read_blocks(path, self._rate, self._channels, REAL_S if self._realtime else WHOLE_S):
                if not len(samples):
                    continue
                self._given += len(samples)
                yield Block(samples, self._given / self._rate, new=new)
                new = None
