"""What stops a training before it begins: clips that the system cannot learn from, settings that do not fit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from calib.clips import Clip
from edge_runtime.errors import ConfigError, DataError
from train import data, settings
from train.models.base import Config

CONFIGS = Path(__file__).parent / "configs"
FREE = (
    "workers",
    "cache_mb",
    "save_minutes",
)  # of a training: how clips are read and weights kept, not what comes of it


def trainable(name: str, chosen: Config, clips: Sequence[Clip], root: str) -> None:
    """Refuse settings that contradict each other, and clips that the system cannot be trained on."""
    system = settings.system_of(chosen)
    if not chosen.any_length and chosen.crop != chosen.window:
        raise ConfigError(
            f"crop_frames {chosen.crop_frames}: {system} takes windows of one length alone, {chosen.window_frames} "
            "frames (window_frames); leave crop_frames out"
        )
    if chosen.crop > chosen.window:
        raise ConfigError(
            f"crop_frames {chosen.crop_frames}: longer than the window that listens, {chosen.window_frames} frames "
            "(window_frames); give fewer, or leave it out"
        )
    if chosen.hop_frames > chosen.window_frames:
        raise ConfigError(
            f"hop_frames {chosen.hop_frames}: more than the window's {chosen.window_frames} (window_frames), so that "
            "some sound would never be heard; give fewer"
        )
    if wrong := [drop for drop in chosen.training.drops if not 0.0 <= drop <= 1.0]:
        raise ConfigError(f"training.drops {wrong[0]}: wanted a share of the epochs, 0 to 1")
    if lack := lacking(chosen, clips):
        systems = ", ".join(workable(clips)) or "none"
        raise DataError(f"{root}: {name} needs {lack}; systems that would work: {systems}")


def lacking(chosen: Config, clips: Sequence[Clip]) -> str:
    """What the normal training clips lack that the system needs, in words; empty where nothing."""
    own = data.usable(clips, chosen)
    few = f"two training clips{' that are not of the target domain' * chosen.source_only}, and here are {len(own)}"
    return few if len(own) < 2 else chosen.missing(own)


def workable(clips: Sequence[Clip]) -> list[str]:
    """The systems of train/configs that these normal training clips allow."""
    systems = {file.stem: settings.load(file) for file in sorted(CONFIGS.glob("*.yaml"))}
    return [name for name, chosen in systems.items() if not lacking(chosen, clips) and not chosen.unavailable()]


def same_settings(checkpoint: Path, stored: Any, file: Path, chosen: Config) -> None:
    """Refuse a checkpoint that was trained with other settings than those of `file`, by field."""
    try:
        trained = msgspec.convert(stored, settings.AnyConfig)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{checkpoint}: settings of another version ({error}); train it again") from None
    if found := differing(trained, chosen):
        fields = "; ".join(f"trained with {name} {a}, {file} says {b}" for name, a, b in found)
        raise ConfigError(f"{checkpoint}: {fields}; put the settings back or train it again")


def resumable(file: Path, before: Config, chosen: Config) -> None:
    """Refuse to go on with other settings than a run has begun with, by field."""
    if found := differing(before, chosen):
        fields = ", ".join(f"{name} {a} -> {b}" for name, a, b in found)
        raise ConfigError(f"{file}: other settings: {fields}; resume with {file} itself")


def differing(before: Config, now: Config) -> list[tuple[str, object, object]]:
    """(field, before, now) of every setting that shapes a network and differs.

    The number of epochs does not, unless the learning rate follows it.
    """
    free = {f"training.{name}" for name in FREE}
    if before.training.schedule == "constant":
        free |= {"training.epochs"}
    one, other = (_flat(msgspec.to_builtins(settings_)) for settings_ in (before, now))
    names = [name for name in {**one, **other} if name not in free and one.get(name) != other.get(name)]
    names = ["system"] if "system" in names else names
    return [(name, one.get(name), other.get(name)) for name in names]


def _flat(tree: dict[str, Any], above: str = "") -> dict[str, Any]:
    """{"training": {"seed": 0}} -> {"training.seed": 0}."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{above}{name}.") if isinstance(value, dict) else {above + name: value}
    return flat
