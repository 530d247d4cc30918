"""Normal training clips -> batches of a network's inputs.

A worker draws windows, mixes waveforms, and computes the inputs of the mixed sound with `edge_runtime/features.py`. All
that is random in a batch comes from its own seed: the batches are the same for any number of workers.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from calib.clips import Clip, load
from edge_runtime import features
from edge_runtime.errors import DataError
from edge_runtime.features import Spec
from train import augment
from train.models.base import Batch, Config, SoundClass

MIB = 1 << 20
Draw = tuple[int, list[int]]  # a batch before it is made: its seed, and places in the list of clips


def class_of(clip: Clip) -> SoundClass:
    """Clips of one machine, with the same attributes and of one domain, are one class."""
    return SoundClass(clip.machine_type, clip.section, clip.attributes, clip.domain)


def classes_of(clips: Sequence[Clip]) -> list[SoundClass]:
    """Every class, in an order that depends on the clips alone."""
    found = {class_of(clip) for clip in clips}
    return sorted(found, key=lambda one: (one.machine_type, one.section, one.attributes, one.domain or ""))


class Sounds:
    """The sound of some clips, as much of it in memory as the limit allows."""

    def __init__(self, clips: Sequence[Clip], window: int, limit: int) -> None:
        """`window` samples: no clip may be shorter. `limit` bytes are held; all clips are read once to see."""
        self._clips = clips
        self._held: dict[int, NDArray[np.int16] | NDArray[np.float32]] = {}
        for place, clip in enumerate(clips):
            sound = load(clip)
            if len(sound) < window:
                raise DataError(_too_short(clip, len(sound), window))
            packed = _pack(sound)
            limit -= packed.nbytes
            if limit >= 0:
                self._held[place] = packed

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, place: int) -> NDArray[np.float32]:
        """[samples] float32."""
        held = self._held.get(place)
        return load(self._clips[place]) if held is None else _unpack(held)


class Batches(Dataset[Batch]):
    """A draw -> its batch."""

    def __init__(
        self,
        sounds: Sounds,
        labels: NDArray[np.intp],
        classes: int,
        inputs: Mapping[str, Spec],
        window: int,
        mixup: float,
        training: bool,
    ) -> None:
        """`labels` [clips]; `mixup`: its probability; `training` False: the first window of each clip, unmixed."""
        self._sounds, self._labels = sounds, np.eye(classes, dtype=np.float32)[labels]
        self._inputs, self._window, self._mixup, self._training = inputs, window, mixup, training

    def __getitem__(self, draw: Draw) -> Batch:
        seed, places = draw
        rng = np.random.default_rng(seed)
        sound = np.stack([self._cut(self._sounds[place], rng) for place in places])
        labels = self._labels[places]
        if self._training:
            sound, labels = augment.mixup(sound, labels, self._mixup, rng)
        inputs = {name: np.stack([features.compute(row, spec) for row in sound]) for name, spec in self._inputs.items()}
        return Batch({name: torch.from_numpy(array) for name, array in inputs.items()}, torch.from_numpy(labels))

    def _cut(self, sound: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        start = int(rng.integers(len(sound) - self._window + 1)) if self._training else 0
        return sound[start : start + self._window]


class Draws(Sampler[Draw]):
    """The draws of an epoch: every clip once, in batches of two clips or more whose sizes differ by at most one."""

    def __init__(self, clips: int, batch: int, seed: int, shuffle: bool) -> None:
        self._clips, self._seed, self._shuffle = clips, seed, shuffle
        self._count = max(1, min(-(-clips // batch), clips // 2))
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Draw]:
        rng = np.random.default_rng([self._seed, self._epoch])
        order = rng.permutation(self._clips) if self._shuffle else np.arange(self._clips)
        for places in np.array_split(order, self._count):
            yield int(rng.integers(1 << 62)), places.tolist()


def loaders(
    clips: Sequence[Clip], classes: Sequence[SoundClass], inputs: Mapping[str, Spec], config: Config
) -> tuple["DataLoader[Batch]", "DataLoader[Batch]"]:
    """-> the one to train from, and one that gives the first window of every clip once, in order and as it is."""
    training = config.training
    sounds = Sounds(clips, config.window, training.cache_mb * MIB)
    number = {sound_class: place for place, sound_class in enumerate(classes)}
    labels = np.array([number[class_of(clip)] for clip in clips], np.intp)

    def loader(train: bool) -> "DataLoader[Batch]":
        batches = Batches(sounds, labels, len(classes), inputs, config.window, config.mixing(), train)
        draws = Draws(len(clips), training.batch, training.seed, shuffle=train)
        workers = training.workers if train else 0
        return DataLoader(
            batches,
            batch_size=None,
            sampler=draws,
            num_workers=workers,
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # or it would draw from the one that augmentations draw from
        )

    return loader(True), loader(False)


def _pack(sound: NDArray[np.float32]) -> NDArray[np.int16] | NDArray[np.float32]:
    """16-bit sound in half the room; any other as it is."""
    steps = np.clip(sound * 32_768.0, -32_768.0, 32_767.0).astype(np.int16)
    return steps if np.array_equal(_unpack(steps), sound) else sound


def _unpack(packed: NDArray[np.int16] | NDArray[np.float32]) -> NDArray[np.float32]:
    sound = packed.astype(np.float32, copy=False)
    return sound / np.float32(32_768.0) if packed.dtype == np.int16 else sound


def _too_short(clip: Clip, samples: int, window: int) -> str:
    rate = features.SAMPLE_RATE
    return (
        f"{clip.path}: {samples / rate:.2f} s, shorter than the window of {window / rate:.2f} s; "
        "set a smaller window_frames (--set window_frames=N) or leave the clip out"
    )
