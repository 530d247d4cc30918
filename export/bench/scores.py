"""What a job made of the clips, and its file: scores, embeddings, thresholds, by machine."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from calib.collect import Collected, mean_per_clip
from calib.machines import fit_machines, score_clips
from edge_runtime.bundle import Model
from edge_runtime.errors import AuscultError, BundleError
from edge_runtime.features import Doubles
from edge_runtime.machine_file import load_arrays, save_arrays
from edge_runtime.scoring import parts
from export.compare import labelled


class Told(msgspec.Struct):
    """What is not an array."""

    parameters: int = 0
    macs: int = 0  # multiply-accumulates a window
    training_s: float | None = None  # seconds; None: nothing was trained
    commit: str = ""  # of the code that trained the network
    int8_note: str = ""  # why there is no INT8
    thresholds: dict[str, float] = {}  # by machine


@dataclass
class Scored:
    """A system with one seed on the test clips, by machine, in the order of the trial's clips."""

    told: Told = field(default_factory=Told)
    scores: dict[str, Doubles] = field(default_factory=dict)  # [clips]
    int8: dict[str, Doubles] = field(default_factory=dict)  # [clips], of the INT8 network; empty: not quantized
    embeddings: dict[str, NDArray[Any]] = field(default_factory=dict)  # [clips, dimensions]; empty: it gives none
    map: dict[str, NDArray[Any]] = field(default_factory=dict)  # [clips, 2]; NaN: not drawn


ARRAYS = ("scores", "int8", "embeddings", "map")


def score(heard: Collected, model: Model) -> Scored:
    """Training and test clips -> every machine fitted to the former, and the scores of the latter."""
    found = Scored()
    train, test = heard.select([clip.trains for clip in heard.clips]), heard.select(list(map(labelled, heard.clips)))
    machines = fit_machines(train, model.scoring, classes=model.classes)
    for name in test.machines:
        own = test.machine(name)
        found.scores[name] = score_clips(own, machines[name])
        found.told.thresholds[name] = machines[name].threshold
        if not np.isfinite([*found.scores[name], machines[name].threshold]).all():
            raise AuscultError(f"{name}: scores are not finite; train with a lower training.learning_rate")
        if (values := _embedding(own, model)) is not None:
            found.embeddings[name] = values
    return found


def _embedding(own: Collected, model: Model) -> NDArray[np.float32] | None:
    """[clips, dimensions]: the mean over each clip's windows of what is scored; None where that is no vector."""
    names = [part.of for part in parts(model.scoring)] + ["embedding"]
    for name in names:
        array = own.outputs.get(name)
        if array is not None and array.ndim == 2 and array.shape[1] > 1 and name != "logits":
            columns = [mean_per_clip(column, own.clip, len(own.clips)) for column in array.T]
            return np.stack(columns, axis=1).astype(np.float32)
    return None


def save(file: Path, key: str, found: Scored) -> None:
    """Write a file that `load` takes for done."""
    arrays = {f"{what}/{machine}": a for what in ARRAYS for machine, a in getattr(found, what).items()}
    told = msgspec.json.encode({"key": key, "told": found.told})
    file.parent.mkdir(parents=True, exist_ok=True)
    save_arrays(file, {**arrays, "told": np.frombuffer(told, np.uint8)})


def load(file: Path, key: str) -> Scored | None:
    """What was saved under the same key; None: it is still to be done."""
    if not file.exists():
        return None
    try:
        arrays = load_arrays(file)
        told = msgspec.json.decode(arrays.pop("told").tobytes())
    except (BundleError, KeyError, msgspec.MsgspecError):
        return None
    if told["key"] != key:
        return None
    found = Scored(msgspec.convert(told["told"], Told))
    for name, array in arrays.items():
        what, _, machine = name.partition("/")
        getattr(found, what)[machine] = array
    return found
