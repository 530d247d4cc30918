"""One window of each of some clips, kept in memory, for one network after another to hear."""

import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calib.clips import Clip
from calib.collect import Collected, clip_windows
from edge_runtime.backends import open_backend
from edge_runtime.bundle import Model

TIMES, SECONDS = 30, 1.0  # runs that the quickest is taken of, fewer where they take longer than this


class Windows:
    """The first window of each clip."""

    def __init__(self, clips: Sequence[Clip], model: Model) -> None:
        self.clips, self.model = list(clips), model
        firsts = [next(iter(clip_windows(clip, model))) for clip in clips]
        self.inputs = [{name: array[np.newaxis] for name, array in inputs.items()} for inputs, _, _ in firsts]
        self._mel = np.stack([mel for _, mel, _ in firsts])
        self._fit = np.array([fit for _, _, fit in firsts], bool)

    def hear(self, network: Path, chosen: NDArray[np.intp] | None = None) -> Collected:
        """What an ONNX file makes of all windows, or of those chosen."""
        rows = np.arange(len(self.clips)) if chosen is None else chosen
        backend = open_backend(network, self.model)
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # a backend runs on the thread that calls it
            outputs = list(pool.map(backend.run, [self.inputs[row] for row in rows]))
        backend.close()
        return Collected(
            clips=[self.clips[row] for row in rows],
            clip=np.arange(len(rows)),
            outputs={name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]},
            mel=self._mel[rows],
            fit=self._fit[rows],
        )

    def milliseconds(self, network: Path) -> float:
        """Of one window on one thread: the least of several runs, when nothing else is in the way."""
        backend = open_backend(network, self.model)
        least, begun = math.inf, time.perf_counter()
        for _ in range(TIMES):
            start = time.perf_counter()
            backend.run(self.inputs[0])
            least = min(least, time.perf_counter() - start)
            if time.perf_counter() - begun > SECONDS:
                break
        backend.close()
        return 1e3 * least
