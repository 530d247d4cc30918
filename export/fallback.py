"""Which layers of a network stay in float: as few as its gate lets.

Where all layers in the lower precision blur the embeddings too much, each group of neighbours is tried by itself, and
those that blur most for what they cost in float stay there until what is left is little against the spread of normal
sound, or they take too great a share of all operations. That is the first guess. Where it does not pass the gate, more
groups follow in the same order, whatever they cost; how many is found by bisection, so that a gate is measured some
five times and not once a group.
"""

import bisect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from calib.collect import Collected
from calib.progress import bar
from edge_runtime import bundle
from export import drift
from export.gate import Figures
from export.hearing import Windows

NOISE = 0.005  # variance, relative to the spread of normal sound: 0.01 costs up to a point of AUC
FLOAT_SHARE = 0.5  # of all operations, of the first guess
TRIED = 24  # windows that groups are tried on
GROUPS = 32  # of layers, at most: each is tried by itself
LEAST_COST = 0.01  # of all operations: what a node costs in float beyond its own
Group = tuple[str, ...]


class Left(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node that stays in float."""

    node: str
    why: str


@dataclass(frozen=True)
class Form:
    """A network's other form, with any of its nodes left in float."""

    name: bundle.Form
    nodes: list[str]  # that can be left in float one by one, in the graph's order
    write: Callable[[Collection[str], Path], None]  # nodes left in float, file: what onnxruntime listens with


class Search:
    """Windows that a form is tried on, and the shares of its nodes in all operations."""

    def __init__(
        self, windows: Windows, truth: Collected, rows: NDArray[np.intp], operations: dict[str, int], scratch: Path
    ) -> None:
        """The first of the rows are tried; `truth` is what FP32 makes of all windows."""
        self._windows, self._scratch, self._tried = windows, scratch, rows[:TRIED]
        self._total, self._operations = sum(operations.values()), operations
        self._points = [points[self._tried] for points in drift.points(truth.outputs, windows.model)]
        self._machines = [windows.clips[row].machine for row in self._tried]

    def noise(self, form: Form, left: Collection[str] = ()) -> float:
        """Of a form with some nodes left in float."""
        form.write(left, self._scratch)
        heard = self._windows.hear(self._scratch, self._tried)
        self._scratch.unlink()
        return drift.worst_noise(self._points, drift.points(heard.outputs, self._windows.model), self._machines)

    def left(
        self, form: Form, judge: Callable[[Path], Figures], limit: float = NOISE, share: float = FLOAT_SHARE
    ) -> list[Left]:
        """Nodes that stay in float so that a form passes its gate, in the order in which they went."""
        noises: dict[Group, float] = {}
        first: list[Group] = []
        if not self.noise(form) <= limit:
            noises = self._by_group(form)
            first = self._guess(noises, limit, share)
        kept = [Left(name, "noise") for group in first for name in group]
        failures = self._failures(form, judge, first)
        if not failures:
            return kept
        noises = noises or self._by_group(form)
        rest = [group for group in self._order(noises) if group not in first]

        def passes(count: int) -> bool:
            return not self._failures(form, judge, [*first, *rest[:count]])

        count = bisect.bisect_left(range(1, len(rest)), True, key=passes) + 1  # all in float is FP32, and passes
        return kept + [Left(name, f"gate ({failures[0]})") for group in rest[:count] for name in group]

    def share(self, left: Collection[str]) -> float:
        """Of all operations, that some nodes take."""
        return sum(self._operations.get(name, 0) for name in left) / max(self._total, 1)

    def _failures(self, form: Form, judge: Callable[[Path], Figures], groups: Sequence[Group]) -> list[str]:
        form.write([name for group in groups for name in group], self._scratch)
        found = judge(self._scratch).failures
        self._scratch.unlink()
        return found

    def _by_group(self, form: Form) -> dict[Group, float]:
        """Noise of each group of neighbours in the lower precision by itself."""
        parts = np.array_split(form.nodes, max(1, min(GROUPS, len(form.nodes))))
        groups = [tuple(map(str, part)) for part in parts]
        return {group: self.noise(form, set(form.nodes) - set(group)) for group in bar(groups, f"{form.name} layers")}

    def _order(self, noises: dict[Group, float]) -> list[Group]:
        """Those that give most noise for what they cost in float come first."""
        return sorted(noises, key=lambda group: -noises[group] / (self.share(group) + LEAST_COST))

    def _guess(self, noises: dict[Group, float], limit: float, share: float) -> list[Group]:
        """The first groups that bring the noise of the rest below the limit, as long as they fit into the share."""
        kept = []
        rest = sum(noises.values())
        for group in self._order(noises):
            if rest > limit and self.share(group) <= share:
                kept.append(group)
                rest, share = rest - noises[group], share - self.share(group)
        return kept
