"""Where the time goes: a hook around each stage of listening, which does nothing until somebody measures.

The stages in their order: resample (of the source), features, quality, engine, score, alarm.
"""

import contextlib
from collections.abc import Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Stages(Protocol):
    """Is told of every stage."""

    def __call__(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Around the work of a stage."""
        ...

    def each(self, name: str, items: Iterator[T]) -> Iterator[T]:
        """The same items; the work of the stage is that of making each."""
        ...

    def parts(self, seconds: dict[str, float]) -> None:
        """What a backend says of the stage that has just ended: "copy in", "engine", "copy out"."""
        ...


class Unmeasured:
    """Does nothing."""

    _nothing = contextlib.nullcontext()

    def __call__(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Nothing before or after."""
        return self._nothing

    def each(self, name: str, items: Iterator[T]) -> Iterator[T]:
        """The items."""
        return items

    def parts(self, seconds: dict[str, float]) -> None:
        """Nobody asks."""


UNMEASURED = Unmeasured()
