"""How far a long loop has come, on stderr, where somebody looks."""

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")
DELAY_S = 2.0  # seconds before a bar is shown: what is done by then needs none


def bar(iterable: Iterable[T] | None, what: str, total: int | None = None) -> "tqdm[T]":
    """The same items, with a bar of its own line that is gone at the end; nothing where stderr is no terminal.

    Without an iterable the caller moves it: `update`, `close`. `total`: number of items, where they do not say it.
    """
    options: dict[str, Any] = {"delay": DELAY_S, "disable": None, "file": sys.stderr, "leave": False}
    return tqdm(iterable, desc=what, total=total, **options)
