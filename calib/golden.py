"""The golden clip of a bundle: simulated sound and what this machine made of it, to replay on the device.

It is never a recording, so a bundle carries nobody's sound. `python -m edge_runtime check BUNDLE` replays it.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime import bundle, machine_file
from edge_runtime.backends import open_backend
from edge_runtime.features import Floats, compute
from edge_runtime.scoring import score


def golden_clip(samples: int, sample_rate: int) -> Floats:
    """[samples] float32: a hum of 20 harmonics of 49 Hz in noise, exact in 16 bits."""
    time = np.arange(samples) / sample_rate
    random = np.random.default_rng(20)
    order = np.arange(1, 21)[:, None]
    hum = (np.sin(2 * np.pi * 49.0 * order * time + random.uniform(0, 2 * np.pi, (20, 1))) / order).sum(axis=0)
    sound = 0.08 * hum + 0.02 * random.standard_normal(samples)
    return (np.round(np.clip(sound, -0.99, 0.99) * 32_768) / 32_768).astype(np.float32)


def write_golden(folder: Path) -> None:
    """Replay the golden clip through a model folder and keep every stage: sound, inputs, outputs, scores."""
    model = bundle.load_model(folder)
    sound = golden_clip(model.window, model.sample_rate)
    inputs = {name: compute(sound, spec) for name, spec in model.computed.items()}
    backend = open_backend(bundle.network_file(folder), model)
    outputs = backend.run({name: array[np.newaxis] for name, array in inputs.items()})
    backend.close()
    arrays: dict[str, NDArray[np.floating]] = {f"input.{name}": array for name, array in inputs.items()}
    arrays |= {f"output.{name}": array for name, array in outputs.items()}
    for file in sorted((folder / bundle.MACHINES).glob("*.npz")):
        arrays[f"score.{file.stem}"] = score(outputs, machine_file.load_machine(file))
    machine_file.save_arrays(folder / bundle.GOLDEN, {"sound": sound, **arrays})
