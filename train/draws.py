"""Which clips make a batch: the epoch's draws, from seed and epoch alone."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

Draw = tuple[int, list[int]]  # a batch before it is made: its seed, and places in the list of clips
Places = NDArray[np.intp]


class EveryClip(NamedTuple):
    """Every clip once an epoch, in batches of two clips or more whose sizes differ by at most one."""


class HalfAndHalf(NamedTuple):
    """Every batch half of clips of one kind and half of the others: every clip of the larger kind once an epoch."""

    kind: Sequence[bool]  # of each clip: which of the two


class PerClass(NamedTuple):
    """P classes x K clips a batch, as often as it takes to hear every clip once (Hermans et al. 2017)."""

    classes: Sequence[int]  # number of each clip's class
    clips: int  # of a class in a batch, K; of a smaller class some come twice


Sampling = EveryClip | HalfAndHalf | PerClass


EVERY_CLIP = EveryClip()


class Draws(Sampler[Draw]):
    """The draws of an epoch."""

    def __init__(self, clips: int, batch: int, seed: int, shuffle: bool, sampling: Sampling = EVERY_CLIP) -> None:
        """`shuffle` False: every clip once, in order, whatever the sampling."""
        self._clips, self._batch, self._seed, self._shuffle = clips, batch, seed, shuffle
        self._sampling = sampling if shuffle else EVERY_CLIP
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        if isinstance(self._sampling, HalfAndHalf):
            return _halves(self._sampling, self._batch)
        if isinstance(self._sampling, PerClass):
            return -(-self._clips // _of_classes(self._sampling, self._batch))
        return max(1, min(-(-self._clips // self._batch), self._clips // 2))

    def __iter__(self) -> Iterator[Draw]:
        rng = np.random.default_rng([self._seed, self._epoch])
        for places in self._batches(rng):
            yield int(rng.integers(1 << 62)), places.tolist()

    @property
    def per_class(self) -> int:
        """Clips of each class in a batch of P x K; 0 for any other."""
        return self._sampling.clips if isinstance(self._sampling, PerClass) else 0

    @property
    def smallest(self) -> int:
        """Clips of the smallest batch."""
        if isinstance(self._sampling, HalfAndHalf):
            return 2 * max(1, self._batch // 2)
        if isinstance(self._sampling, PerClass):
            return _of_classes(self._sampling, self._batch)
        return self._clips // len(self)

    def _batches(self, rng: np.random.Generator) -> Iterator[Places]:
        if isinstance(self._sampling, HalfAndHalf):
            return _half_and_half(self._sampling, len(self), self._batch, rng)
        if isinstance(self._sampling, PerClass):
            return _per_class(self._sampling, len(self), self._batch, rng)
        order = rng.permutation(self._clips) if self._shuffle else np.arange(self._clips)
        return iter(np.array_split(order, len(self)))


class Part(NamedTuple):
    """Some rows of a batch before they are made."""

    seed: int  # of the whole batch
    places: list[int]  # of the whole batch, in the list of clips
    rows: list[int]  # of the batch


class Parts(Sampler[Part]):
    """Those parts of the draws that one of several processes takes, one after another."""

    def __init__(self, draws: Draws, processes: int = 1, process: int = 0, each: int = 1) -> None:
        """`each`: parts that a process takes its share of a batch in."""
        self.draws, self.each = draws, each
        self._first, self._count = process * each, processes * each
        self._skip = 0

    def set_epoch(self, epoch: int, skip: int = 0) -> None:
        """Called before each epoch; `skip` batches are done already."""
        self.draws.set_epoch(epoch)
        self._skip = skip

    def __len__(self) -> int:
        return (len(self.draws) - self._skip) * self.each

    def __iter__(self) -> Iterator[Part]:
        for seed, places in islice(self.draws, self._skip, None):
            for part in range(self._first, self._first + self.each):
                yield Part(seed, places, rows_of(len(places), self._count, part))


def rows_of(batch: int, parts: int, part: int) -> list[int]:
    """A part's rows: each with its mirror image in the batch, as mirror images of one another, two rows or more.

    What exchanges something between mirror images does in the parts what it does in the whole. Rows are dealt in turn,
    so that a part of a batch of several kinds or classes has all of them.
    """
    own = range(part, batch // 2, parts)
    middle = [batch // 2] if batch % 2 and part == parts - 1 else []  # the last part is never the larger one
    return [*own, *middle, *(batch - 1 - row for row in reversed(own))]


def _halves(sampling: HalfAndHalf, batch: int) -> int:
    kind = np.asarray(sampling.kind, bool)
    return max(1, -(-int(max(kind.sum(), (~kind).sum())) // max(1, batch // 2)))


def _half_and_half(sampling: HalfAndHalf, count: int, batch: int, rng: np.random.Generator) -> Iterator[Places]:
    """The smaller kind begins anew as often as it takes.

    The others stand amid those of the kind, so that a clip and its mirror image, which mixup makes one sound of, are of
    one kind (all but one of them where half a batch is an odd number).
    """
    kind = np.asarray(sampling.kind, bool)
    sides = [_endless(np.flatnonzero(side), rng) for side in (kind, ~kind)]
    half = max(1, batch // 2)
    for _ in range(count):
        own, others = ([next(side) for _ in range(half)] for side in sides)
        yield np.array([*own[: half // 2], *others, *own[half // 2 :]], np.intp)


def _of_classes(sampling: PerClass, batch: int) -> int:
    """Clips of a batch: with fewer classes than it has room for, fewer."""
    return min(max(1, batch // sampling.clips), len(set(sampling.classes))) * sampling.clips


def _per_class(sampling: PerClass, count: int, batch: int, rng: np.random.Generator) -> Iterator[Places]:
    """The classes take turns, each in an order drawn anew; so do the clips of a class."""
    numbers = np.asarray(sampling.classes, np.intp)
    members = {int(one): _endless(np.flatnonzero(numbers == one), rng) for one in np.unique(numbers)}
    classes = _of_classes(sampling, batch) // sampling.clips
    turns: list[int] = []
    for _ in range(count):
        if len(turns) < classes:
            turns += [one for one in rng.permutation(list(members)).tolist() if one not in turns]
        chosen, turns = turns[:classes], turns[classes:]
        yield np.array([next(members[one]) for one in chosen for _ in range(sampling.clips)], np.intp)


def _endless(places: Places, rng: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(places).tolist()
