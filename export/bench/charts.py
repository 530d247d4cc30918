"""Geometry of the page's charts: a map of embeddings, histograms of scores, intervals beside one another."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from calib.clips import Clip
from edge_runtime.features import Doubles
from export.bench.scores import Scored

MAP, PAD = 360, 12  # the map's side and margin, in its own coordinates
BINS, WIDTH, HALF = 24, 240, 44  # of a histogram: bars, width, height above and below the middle
HIGHEST = 0.95  # quantile of a machine's scores; what is above falls into the last bar
CROSS = 3.2  # half a cross


class Cloud(msgspec.Struct, frozen=True):
    """One machine on the map: a path of dots, and one of crosses."""

    machine: str
    colour: int  # of the page's list
    normal: str
    anomalous: str


class Histogram(msgspec.Struct, frozen=True):
    """The scores of one machine's clips: normal ones upwards, anomalous ones downwards."""

    machine: str
    colour: int
    normal: str  # path
    anomalous: str
    threshold: float  # across
    ends: tuple[str, str]  # scores on the left and on the right


COLOURS = 10  # that the page has; machines beyond share them


def clouds(scored: Scored, clips: Sequence[Clip]) -> list[Cloud]:
    """The map of one system with one seed; none where it gives no embeddings."""
    if not scored.map:
        return []
    low, high = _ends(scored)
    factor = _factor(low, high)
    found = []
    for number, (machine, own) in enumerate(scored.map.items()):
        anomalous = np.array([clip.label == "anomaly" for clip in clips if clip.machine == machine])
        places, drawn = (own - low) * factor + PAD, np.isfinite(own[:, 0])
        dots, crosses = places[drawn & ~anomalous], places[drawn & anomalous]
        found.append(Cloud(machine, number % COLOURS, _dots(dots), _crosses(crosses)))
    return found


def box(scored: Scored) -> str:
    """The map's view box: as high as its points ask for."""
    if not scored.map:
        return ""
    low, high = _ends(scored)
    across, down = (high - low) * _factor(low, high) + 2 * PAD
    return f"0 0 {across:.0f} {down:.0f}"


def histograms(scored: Scored, clips: Sequence[Clip]) -> list[Histogram]:
    """One for each machine, of one system with one seed."""
    found = []
    for number, (machine, scores) in enumerate(scored.scores.items()):
        anomalous = np.array([clip.label == "anomaly" for clip in clips if clip.machine == machine])
        limit = scored.told.thresholds[machine]
        low = min(float(scores.min()), limit)
        high = max(float(np.quantile(scores, HIGHEST)), limit)
        high = high if high > low else low + 1.0
        up, down = (_shares(scores[anomalous == kind], low, high) for kind in (False, True))
        tallest = max(up.max(), down.max())
        at = round(WIDTH * (limit - low) / (high - low), 1)
        ends = (_short(low), _short(high))
        found.append(Histogram(machine, number % COLOURS, _bars(up / tallest, -1), _bars(down / tallest, 1), at, ends))
    return found


def _ends(scored: Scored) -> tuple[NDArray[Any], NDArray[Any]]:
    points = np.concatenate(list(scored.map.values()))
    return np.nanmin(points, axis=0), np.nanmax(points, axis=0)


def _factor(low: NDArray[Any], high: NDArray[Any]) -> float:
    """The same across and down: distances are to be compared."""
    return (MAP - 2 * PAD) / max(float((high - low).max()), 1e-9)


def _shares(scores: Doubles, low: float, high: float) -> Doubles:
    """[clips] -> [bins] share of the clips."""
    counts = np.histogram(np.clip(scores, low, high), BINS, (low, high))[0]
    shares: Doubles = counts / max(1, len(scores))
    return shares


def _bars(heights: Doubles, direction: int) -> str:
    step = WIDTH / BINS
    return "".join(
        f"M{i * step:.1f} {HALF}v{direction * HALF * height:.1f}h{step - 1:.1f}V{HALF}z"
        for i, height in enumerate(heights)
        if height
    )


def _dots(points: NDArray[Any]) -> str:
    return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)


def _crosses(points: NDArray[Any]) -> str:
    arm, across = f"{CROSS:g}", f"{2 * CROSS:g}"
    return "".join(f"M{x:.1f} {y:.1f}m-{arm}-{arm}l{across} {across}m0-{across}l-{across} {across}" for x, y in points)


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")
