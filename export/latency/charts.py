"""Geometry of the page's chart: how long each stage takes, for each number of machines."""

import math

import msgspec

from export.latency.content import AFTER, STAGES, TOTAL, Load
from export.page.axes import Tick, round_step
from export.page.words import MINUS, count, number

SUMS = (AFTER, TOTAL)
LEAST = 0.25  # per cent across: a thinner piece is not seen


class Piece(msgspec.Struct, frozen=True):
    """One stage of a bar: per cent across."""

    name: str
    x: float
    width: float
    colour: str  # class
    words: str


class Bar(msgspec.Struct, frozen=True):
    """One number of machines: the stages' medians one after another, and the spread of the whole."""

    label: str
    pieces: list[Piece]
    p50: float  # per cent across
    p95: float
    p99: float
    max: float
    beyond: bool  # the longest time lies outside the chart
    words: str


class Chart(msgspec.Struct, frozen=True):
    """All of them on one scale."""

    bars: list[Bar]
    ticks: list[Tick]
    legend: list[tuple[str, str]]  # stage, class


def draw(loads: list[Load]) -> Chart:
    """From 0 to what 99 % of all take: one window in a thousand would press the rest together."""
    longest = 1.1 * max(load.stage(TOTAL).p99 for load in loads)
    step = round_step(longest / 6)
    end = step * math.ceil(longest / step)
    bars = [_bar(load, end) for load in loads]
    seen = {piece.name: piece.colour for bar in bars for piece in bar.pieces}
    legend = [(name, seen[name]) for name in STAGES if name in seen]
    ticks = [Tick(100 * i * step / end, f"{i * step:g}", i % 2 == 1) for i in range(round(end / step) + 1)]
    return Chart(bars, ticks, legend)


def _bar(load: Load, end: float) -> Bar:
    pieces: list[Piece] = []
    at = 0.0
    for stage in load.stages:
        width = 100 * stage.p50 / end
        if stage.name not in SUMS and width >= LEAST:
            words = f"{stage.name}, median {milliseconds(stage.p50)} ms"
            pieces.append(Piece(stage.name, round(at, 3), round(width, 3), colour(stage.name), words))
            at += width
    total = load.stage(TOTAL)
    times = (total.p50, total.p95, total.p99, min(total.max, end))
    p50, p95, p99, most = (round(100 * value / end, 3) for value in times)
    words = f"{milliseconds(total.p50)} ms; 95 % within {milliseconds(total.p95)}, at most {milliseconds(total.max)}"
    return Bar(count(load.machines, "machine"), pieces, p50, p95, p99, most, total.max > end, words)


def colour(stage: str) -> str:
    """The same for a stage everywhere on the page."""
    return f"stage{STAGES.index(stage)}"


def milliseconds(value: float) -> str:
    """0.012, 1.23, 12.3, 123."""
    return number(value) if abs(value) >= 0.001 else "0" if value >= 0 else f"{MINUS}0"
