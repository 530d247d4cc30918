"""A run folder: what it holds, and the network that was trained into it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from calib.clips import Clip
from calib.scorings import with_scoring
from edge_runtime import bundle, config, features
from edge_runtime.errors import ConfigError, first_line
from train import checkpoint, checks, data, settings
from train.backend import measured
from train.models import SYSTEMS
from train.models.base import Config, SoundClass

CONFIG, CLASSES, ORIGIN = "config.yaml", "classes.json", "run.json"


@dataclass(frozen=True)
class Run:
    """A trained network and what it is."""

    config: Config
    model: bundle.Model
    network: nn.Module  # in evaluation form, on the CPU: forward(**inputs) -> outputs by name
    classes: list[SoundClass]


class Origin(msgspec.Struct, frozen=True):
    """Where a run came from, and whether it is finished."""

    version: str  # of auscult
    commit: str  # of the code; "" outside a checkout
    data: str
    clips: int  # that it is trained on
    seconds: float | None = None  # of all epochs; None until the last one is over


def load_run(folder: str | Path) -> Run:
    """Open what the command wrote."""
    folder = Path(folder)
    for name in (CONFIG, bundle.MODEL, CLASSES, str(checkpoint.CHECKPOINT)):
        if not (folder / name).exists():
            raise ConfigError(f"{folder}: no {name}; give a run folder of train/run.py, trained for an epoch or more")
    chosen, model = settings.load(folder / CONFIG), bundle.load_model(folder)
    if model.system != settings.system_of(chosen):
        system = settings.system_of(chosen)
        raise ConfigError(f"{folder}: {CONFIG} is of system {system}, {bundle.MODEL} of {model.system}; train it again")
    classes = config.load_json(folder / CLASSES, list[SoundClass])
    state = state_of(folder / checkpoint.CHECKPOINT)
    checks.same_settings(folder / checkpoint.CHECKPOINT, state[checkpoint.CONFIG_KEY], folder / CONFIG, chosen)
    network = SYSTEMS[model.system].Network(chosen, shapes(chosen), len(data.merged(classes, chosen)))
    weights = {
        name.removeprefix("network."): a for name, a in state["state_dict"].items() if name.startswith("network.")
    }
    try:
        network.load_state_dict(weights)
    except RuntimeError:
        raise ConfigError(
            f"{folder / checkpoint.CHECKPOINT}: weights of another network than {CONFIG} and {CLASSES} describe "
            f"({model.system}, {len(classes)} classes); train it again"
        ) from None
    model = msgspec.structs.replace(model, machine_types=_known_types(chosen, classes))  # an older run does not say
    return Run(chosen, model, network.eval(), classes)


def begun(folder: Path) -> bool:
    """Whether a run can go on with `resume`: it got as far as its first epoch."""
    return all((folder / name).exists() for name in (CONFIG, bundle.MODEL, CLASSES))


def hardly_begun(folder: Path) -> bool:
    """Whether a run was killed while it wrote its first files: there is nothing to go on from, and nothing to lose."""
    names = {CONFIG, CLASSES, ORIGIN, bundle.MODEL, checkpoint.CHECKPOINT.parts[0]}
    own = all(file.name.removesuffix(".partial") in names for file in folder.glob("*"))
    return folder.is_dir() and own and not (folder / checkpoint.CHECKPOINT).exists()


def finished(folder: str | Path) -> bool:
    """Whether a run was trained to its last epoch."""
    file = Path(folder) / ORIGIN
    return file.exists() and config.load_json(file, Origin).seconds is not None


def state_of(file: Path) -> dict[str, Any]:
    """A checkpoint; nothing in the file is ever executed."""
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        return {"state_dict": state["state_dict"], checkpoint.CONFIG_KEY: state[checkpoint.CONFIG_KEY]}
    except Exception as error:
        raise ConfigError(f"{file}: not a checkpoint of a run ({first_line(error)}); train it again") from None


def shapes(chosen: Config) -> dict[str, tuple[int, ...]]:
    """Shape of each input of one window, without the batch axis."""
    return {name: features.shape(spec, chosen.window) for name, spec in chosen.inputs().items()}


def describe(
    name: str, chosen: Config, network: nn.Module, clips: Sequence[Clip], classes: Sequence[SoundClass] = ()
) -> bundle.Model:
    """What the network takes, gives and costs; the machine of each class where it gives logits."""
    system = settings.system_of(chosen)
    model = bundle.Model(
        name=name,
        system=system,
        inputs=chosen.inputs(),
        outputs={},
        window=chosen.window,
        hop=chosen.hop,
        trained_on=sorted({clip.machine for clip in clips if chosen.judges(clip.machine_type)}),
        machine_types=_known_types(chosen, clips),
    )
    model = measured(network, model)
    model = with_scoring(model, chosen.scoring, chosen.poolings)
    machines = [one.machine for one in data.merged(classes, chosen)] if "logits" in model.outputs else []
    return msgspec.structs.replace(model, classes=machines)


def _known_types(chosen: Config, trained: Sequence[Clip | SoundClass]) -> list[str]:
    """The machine types that a network may judge, where it is for one alone; none: any."""
    if not chosen.one_machine_type:
        return []
    return sorted({one.machine_type for one in trained if chosen.judges(one.machine_type)})


def untrained(name: str, chosen: Config, classes: int) -> bundle.Model:
    """What a network takes, gives and costs, from shapes alone: a hundred million weights need no time and no room."""
    with torch.device("meta"):
        network = SYSTEMS[settings.system_of(chosen)].Network(chosen, shapes(chosen), classes)
    return describe(name, chosen, network, [])
