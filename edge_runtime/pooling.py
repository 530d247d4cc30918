"""A spectrogram of one window -> one vector, in ways that need no training.

A pooling is a frozen spec and a NumPy function, as a feature is; it makes the embedding of a detector without a
network, or one more embedding beside a network's own.
"""

from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from edge_runtime.features import Doubles

Share = Annotated[float, Meta(ge=0.0, le=1.0)]


class Mean(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="mean"):
    """Mean over time."""

    input: str = "log_mel"  # the input that is pooled, [windows, frames, bands]


class Statistics(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="statistics"):
    """Mean and standard deviation over time, side by side: twice as many dimensions."""

    input: str = "log_mel"


class Gem(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="gem"):
    """Generalised mean (Radenovic et al. 2018, equation 3) of what is above the floor: power 1 is the mean."""

    input: str = "log_mel"
    power: Annotated[float, Meta(ge=1.0, le=1000.0)] = 3.0
    floor: Annotated[float, Meta(ge=-1000.0, le=1000.0)] = -100.0  # in the input's unit: of the log-mel, dB


class Rdp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="rdp"):
    """Relative deviation pooling: frames weigh more the farther they are from the mean (Wilkinghoff et al. 2026)."""

    input: str = "log_mel"
    gamma: Annotated[float, Meta(ge=0.0, le=100.0)] = 1.0  # power of a frame's deviation relative to the mean deviation


class Gwrp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="gwrp"):
    """Global weighted rank pooling: each band's frames, loudest first, weigh r^i; r 1: mean, 0: maximum.

    As in TWFR (Guan et al. 2023).
    """

    input: str = "log_mel"
    r: Share = 0.99


class Level(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="level"):
    """Root mean square of the window, dB re full scale: one dimension."""

    input: str = "waveform"  # [windows, samples]
    floor: Annotated[float, Meta(gt=0.0, le=1.0)] = 1e-20  # power; digital silence is -200 dB


Pooling = Mean | Statistics | Gem | Rdp | Gwrp | Level


def pool(array: NDArray[np.float32], pooling: Pooling) -> NDArray[np.float32]:
    """[windows, frames, bands] ([windows, samples] for the level) -> [windows, dimensions], computed in float64."""
    return _pooled(array.astype(np.float64), pooling).astype(np.float32)


def _pooled(x: Doubles, pooling: Pooling) -> Doubles:
    if isinstance(pooling, Statistics):
        return np.concatenate([x.mean(axis=1), x.std(axis=1)], axis=1)
    if isinstance(pooling, Gem):
        above = np.maximum(x - pooling.floor, 0.0)
        peak = np.maximum(above.max(axis=1), 1e-12)  # taken out, so that no power overflows
        shares = np.mean((above / peak[:, np.newaxis]) ** pooling.power, axis=1)
        generalised: Doubles = peak * shares ** (1.0 / pooling.power) + pooling.floor
        return generalised
    if isinstance(pooling, Rdp):
        return _relative_deviation(x, pooling.gamma)
    if isinstance(pooling, Gwrp):
        weights = pooling.r ** np.arange(x.shape[1], dtype=np.float64)
        ranked: Doubles = np.einsum("t,wtb->wb", weights / weights.sum(), -np.sort(-x, axis=1))
        return ranked
    if isinstance(pooling, Level):
        level: Doubles = 10.0 * np.log10(np.maximum(np.mean(x**2, axis=1, keepdims=True), pooling.floor))
        return level
    mean: Doubles = x.mean(axis=1)
    return mean


def _relative_deviation(x: Doubles, gamma: float) -> Doubles:
    """[w, t, b] -> [w, b]; where no frame deviates, all weigh the same."""
    deviation = np.linalg.norm(x - x.mean(axis=1, keepdims=True), axis=2)
    mean = deviation.mean(axis=1, keepdims=True)
    weights = np.where(mean > 0, deviation / np.where(mean > 0, mean, 1.0), 1.0) ** gamma
    pooled: Doubles = np.einsum("wt,wtb->wb", weights / weights.sum(axis=1, keepdims=True), x)
    return pooled
