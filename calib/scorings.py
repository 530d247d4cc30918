"""What may be scored, and how: a model's outputs, its poolings and its scoring have to fit one another."""

import math
from pathlib import Path
from typing import Any

import msgspec

from edge_runtime import config, features
from edge_runtime.bundle import Model
from edge_runtime.errors import ConfigError
from edge_runtime.features import LogMel, Spec, Waveform
from edge_runtime.pooling import Level, Pooling, Statistics
from edge_runtime.scoring import Nearest, Network, Part, Scoring, parts

INPUTS: dict[str, Spec] = {"log_mel": LogMel(), "waveform": Waveform()}  # what can be pooled


class Choice(msgspec.Struct, frozen=True):
    """What of a YAML file, of a system, of a detector or with nothing else in it, says how to score."""

    scoring: Any  # Scoring, a union that is converted by itself
    poolings: dict[str, Pooling] | None = None  # None: those there are


def rescored(model: Model, file: Path) -> Model:
    """A model with the `scoring:` (and `poolings:`) of a YAML file instead of its own."""
    chosen: Choice = config.load_yaml(file, Choice)
    try:
        scoring: Scoring = msgspec.convert(chosen.scoring, Scoring)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{file}: scoring: {error}{config.yaml_hint(str(error))}") from None
    try:
        return with_scoring(model, scoring, model.poolings if chosen.poolings is None else chosen.poolings)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def with_scoring(model: Model, scoring: Scoring, poolings: dict[str, Pooling]) -> Model:
    """A model with another scoring and other poolings, checked."""
    extra = {name: spec for name, spec in beside(poolings).items() if name not in model.inputs}
    changed = msgspec.structs.replace(model, scoring=scoring, poolings=poolings, beside=extra)
    check(changed)
    return changed


def beside(poolings: dict[str, Pooling]) -> dict[str, Spec]:
    """The inputs that poolings need."""
    for name, pooling in poolings.items():
        if pooling.input not in INPUTS:
            raise ConfigError(f"pooling {name} of {pooling.input}: no such input; there is {', '.join(INPUTS)}")
        if isinstance(pooling, Level) != isinstance(INPUTS[pooling.input], Waveform):
            kind = pooling.__struct_config__.tag
            wanted = "waveform" if isinstance(pooling, Level) else "log_mel"
            raise ConfigError(f"pooling {name}: {kind} of {pooling.input}; {kind} is made of {wanted}")
    return {pooling.input: INPUTS[pooling.input] for pooling in poolings.values()}


def check(model: Model) -> None:
    """Refuse poolings that hide an output, and a scoring of what the model does not give or that it cannot score."""
    if hidden := sorted(set(model.poolings) & set(model.outputs)):
        raise ConfigError(f"pooling {hidden[0]}: the network gives an output of that name; choose another name")
    shapes = {**model.outputs, **{name: [_size(pooling)] for name, pooling in model.poolings.items()}}
    for part in parts(model.scoring):
        kind = part.__struct_config__.tag
        if part.of not in shapes:
            raise ConfigError(f"scoring {kind} of {part.of}: no such output; there is {', '.join(shapes)}")
        if wrong := _unfit(part, shapes[part.of]):
            raise ConfigError(f"scoring {kind} of {part.of}: {wrong}")


def _unfit(part: Part, shape: list[int]) -> str:
    """`shape` of a window: [], [dimensions] or [segments, dimensions]."""
    if isinstance(part, Network):
        return f"wanted one number a window, it has {math.prod(shape)}; choose nearest" if shape else ""
    if not shape:
        return "wanted a vector a window, it is one number; choose network"
    if isinstance(part, Nearest) and part.metric == "cosine" and shape[-1] == 1:
        return "numbers of one dimension have no angle between them; choose metric: euclidean, or mahalanobis"
    return ""


def _size(pooling: Pooling) -> int:
    """Dimensions of what is pooled."""
    if isinstance(pooling, Level):
        return 1
    bands = features.shape(INPUTS[pooling.input], features.WINDOW)[1]
    return 2 * bands if isinstance(pooling, Statistics) else bands
