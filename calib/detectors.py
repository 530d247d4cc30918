"""Detectors without a network: a YAML file -> a model whose embeddings are pooled from its inputs.

Each file in calib/configs is one, called by its name. They are what every network has to beat, and what to listen with
where there are few recordings. They need no training; `calib/fit.py --detector NAME` packs one as a bundle.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from calib import scorings
from edge_runtime import config, features
from edge_runtime.bundle import Model
from edge_runtime.errors import ConfigError
from edge_runtime.pooling import Pooling
from edge_runtime.scoring import Scoring

CONFIGS = Path(__file__).parent / "configs"
DEFAULT, LOUDNESS = "mel_mean", "loudness"
NOTHING = Model(name="", system="", inputs={}, outputs={})  # no network


class Detector(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file in calib/configs."""

    title: str  # in tables
    poolings: Annotated[dict[str, Pooling], Meta(min_length=1)]  # output -> how it is pooled
    scoring: Scoring


def names() -> list[str]:
    """The detectors there are."""
    return sorted(file.stem for file in CONFIGS.glob("*.yaml"))


def load(name: str | Path) -> Detector:
    """A detector by its name, or by the path of a YAML file."""
    file = CONFIGS / f"{name}.yaml"
    if not file.exists():
        file = Path(name)
    if not file.exists():
        raise ConfigError(f"{name}: no such detector; there is {', '.join(names())}, or give a YAML file")
    found: Detector = config.load_yaml(file, Detector)
    try:
        scorings.with_scoring(NOTHING, found.scoring, found.poolings)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
    return found


def model(name: str | Path, window: int = features.WINDOW, hop: int = features.HOP) -> Model:
    """The model of a detector; `window` and `hop` in samples."""
    detector, stem = load(name), Path(name).stem
    bare = msgspec.structs.replace(NOTHING, name=stem, system=stem, window=window, hop=hop)
    return scorings.with_scoring(bare, detector.scoring, detector.poolings)


def hearing(base: Model, detectors: Iterable[str]) -> Model:
    """A model whose windows bring the inputs of several detectors too."""
    extra = {name: spec for detector in detectors for name, spec in scorings.beside(load(detector).poolings).items()}
    added = {name: spec for name, spec in extra.items() if name not in base.inputs}
    return msgspec.structs.replace(base, beside={**base.beside, **added})
