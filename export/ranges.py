"""The range of every activation, by three methods from one set of histograms.

minmax      all values
percentile  between two percentiles: the rarest peaks take the steps from the rest
entropy     the range whose 128 steps keep most of the distribution (least Kullback-Leibler divergence)
"""

import io
from collections.abc import Iterable
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationMethod
from onnxruntime.quantization.calibrate import CalibrationDataReader, TensorsData, create_calibrator

from edge_runtime.backends import Arrays
from export.qdq import WEIGHTED

Method = Literal["minmax", "entropy", "percentile"]
METHODS: tuple[Method, ...] = get_args(Method)
Histogram = tuple[NDArray[np.int64], NDArray[np.float32], float, float]  # counts about zero, edges, least, greatest
PERCENTILE = 99.999
BINS = 2048  # of a histogram, both signs
STEPS = 128  # of eight bits, one sign
TRIED = 100  # ranges that entropy is measured of, at most
CHUNK = 4  # windows whose tensors are held at a time


class _Batches(CalibrationDataReader):
    """A few batches for a calibrator of onnxruntime."""

    def __init__(self, batches: list[Arrays]) -> None:
        self._rest = iter(batches)

    def get_next(self) -> Arrays | None:
        return next(self._rest, None)


def calibrate(network: Path, batches: Iterable[Arrays], percentile: float = PERCENTILE) -> dict[Method, TensorsData]:
    """The range of every activation by each method; memory does not grow with the number of batches."""
    with TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):  # it prints its progress
        calibrator = create_calibrator(
            network,
            [*WEIGHTED, "Relu", "Add"],
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"symmetric": False, "percentile": percentile, "num_bins": BINS},
        )
        chunk: list[Arrays] = []
        for batch in batches:
            chunk.append(batch)
            if len(chunk) == CHUNK:
                calibrator.collect_data(_Batches(chunk))
                chunk = []
        if chunk:
            calibrator.collect_data(_Batches(chunk))
        found = {name: histogram[:4] for name, histogram in calibrator.collector.get_histogram_dict().items()}
        return {
            "minmax": _ranges({name: (least, most) for name, (_, _, least, most) in found.items()}),
            "entropy": _ranges({name: _entropy(histogram) for name, histogram in found.items()}),
            "percentile": calibrator.compute_data(),
        }


def _ranges(ends: dict[str, tuple[float, float]]) -> TensorsData:
    of = {name: (np.float32(least), np.float32(most)) for name, (least, most) in ends.items()}
    return TensorsData(CalibrationMethod.MinMax, of)


def _entropy(histogram: Histogram) -> tuple[float, float]:
    """The range of least divergence, no wider than the values."""
    counts, edges, least, most = histogram
    half = len(counts) // 2
    sizes = counts[half:] + counts[half - 1 :: -1]  # of |values|
    sizes[0] = sizes[1]  # the zeros of a ReLU, which any range keeps
    bins = np.unique(np.linspace(min(STEPS, half), half, TRIED).astype(int))
    limit = float(edges[half + min(bins, key=lambda kept: _divergence(sizes, int(kept)))])
    return max(-limit, least), min(limit, most)


def _divergence(counts: NDArray[np.int64], kept: int) -> float:
    """Of what `STEPS` steps make of the first bins from all bins, the rest being clipped to the last of them."""
    clipped = counts[:kept].astype(np.float64)
    clipped[-1] += counts[kept:].sum()
    full = clipped > 0
    starts = np.arange(min(STEPS, kept)) * kept // min(STEPS, kept)
    widths = np.diff(starts, append=kept)
    step = np.add.reduceat(counts[:kept], starts) / np.maximum(np.add.reduceat(full.astype(int), starts), 1)
    coarse = np.maximum(np.repeat(step, widths)[full], 1e-9)
    p, q = clipped[full] / clipped.sum(), coarse / coarse.sum()
    return float(np.sum(p * np.log(p / q)))
