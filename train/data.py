"""Normal training clips -> batches of a network's inputs.

A worker draws windows, mixes waveforms, and computes the inputs of the mixed sound with `edge_runtime/features.py`. All
that is random in a batch comes from its own seed: the batches are the same for any number of workers. A process of
several makes its own rows alone, with what is drawn for the whole batch.

A system that leaves waveforms as they are (no mixing, no pairs) and takes framed inputs alone gets windows that begin
at a whole frame, slices of the features that `calib/cache.py` keeps on disk. For any other nothing is kept there: no
two of its windows are alike.
"""

from collections.abc import Mapping, Sequence
from math import lcm
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from calib.cache import feature_cache
from calib.clips import Clip
from edge_runtime import features
from edge_runtime.errors import ConfigError
from edge_runtime.features import Floats, Framed, Spec
from train import augment, augment_sound
from train.draws import Draws, Part, Parts
from train.models.base import Batch, Config, SoundClass
from train.sounds import Frames, Inputs, Pairs, Sounds

MIB = 1 << 20
Item = TypeVar("Item")
CLASS_BY = Config.class_by


def usable(clips: Sequence[Clip], config: Config) -> list[Clip]:
    """The clips that the system trains on."""
    return [clip for clip in clips if not (config.source_only and clip.domain == "target")]


def class_of(clip: Clip | SoundClass, class_by: Sequence[str] = CLASS_BY) -> SoundClass:
    """Clips that agree in these fields are one class; the other fields are empty."""
    words = {name: getattr(clip, name) if name in class_by else "" for name in CLASS_BY if name != "domain"}
    return SoundClass(**words, domain=clip.domain if "domain" in class_by else None)


def classes_of(clips: Sequence[Clip | SoundClass], class_by: Sequence[str] = CLASS_BY) -> list[SoundClass]:
    """Every class, in an order that depends on the clips alone."""
    found = {class_of(clip, class_by) for clip in clips}
    return sorted(found, key=lambda one: (one.machine_type, one.section, one.attributes, one.domain or ""))


class Batches(Dataset[Batch]):
    """A part of a batch's draw -> the rows of that part."""

    def __init__(
        self,
        source: Sounds | Frames,
        labels: Floats,
        inputs: Mapping[str, Spec],
        config: Config,
        pairs: Pairs | None,
        training: bool,
    ) -> None:
        """`labels` [clips, classes]; `training` False: the first window of each clip, as long as one that listens."""
        self._source, self._labels, self._inputs, self._pairs = source, labels, inputs, pairs
        self._mixup, self._training = config.mixing(), training
        self._window = config.crop if training else config.window  # samples
        self._step = _whole_frame(inputs) if from_frames(config, inputs) else 1  # samples between possible starts

    def __getitem__(self, part: Part) -> Batch:
        """What is random is drawn for the whole batch, and computed for the part."""
        rng = np.random.default_rng(part.seed)
        places, starts = part.places, self._starts(part.places, rng)
        labels = self._labels[_at(places, part.rows)]
        if isinstance(self._source, Frames):
            inputs = self._source.windows(_at(places, part.rows), _at(starts, part.rows), self._window)
            return _batch(inputs, labels, part)
        sound = self._cut(self._source, places, starts, part.rows)
        if not self._training:
            return _batch(self._compute(sound), labels, part)
        sound, labels = augment.mixed(sound, labels, augment.draw_shares(len(places), self._mixup, rng)[part.rows])
        if self._pairs is None:
            return _batch(self._compute(sound), labels, part)
        others = self._pairs.draw(places, rng)
        other = self._cut(self._source, others, self._starts(others, rng), part.rows)
        own, theirs = (_at(rng.spawn(len(places)), part.rows) for _ in range(2))
        sound, other = _augmented(sound, own), _augmented(other, theirs)
        return _batch(self._compute(sound), labels, part, self._compute(other))

    def _starts(self, places: Sequence[int], rng: np.random.Generator) -> list[int]:
        """The first sample of each clip's window."""
        room = (self._source.lengths[places] - self._window) // self._step
        return [int(rng.integers(steps + 1)) * self._step if self._training else 0 for steps in room]

    def _cut(self, sounds: Sounds, places: Sequence[int], starts: Sequence[int], rows: Sequence[int]) -> Floats:
        """A window of each of these rows, [B, window]."""
        return np.stack([sounds[places[row]][starts[row] : starts[row] + self._window] for row in rows])

    def _compute(self, sound: Floats) -> Inputs:
        return {name: np.stack([features.compute(row, spec) for row in sound]) for name, spec in self._inputs.items()}


def merged(classes: Sequence[SoundClass], config: Config) -> list[SoundClass]:
    """What the system's logits stand for: classes that `logits_by` does not tell apart are one."""
    if config.logits_by is None:
        return list(classes)
    return classes_of(classes, config.logits_by)


def loaders(
    clips: Sequence[Clip], classes: Sequence[SoundClass], config: Config, processes: int = 1, process: int = 0
) -> tuple["DataLoader[Batch]", "DataLoader[Batch]"]:
    """-> the one to train from, and one that gives the first window of every clip once, in order and as it is.

    The first gives those parts of each batch that are for one of several processes.
    """
    training, inputs = config.training, config.inputs()
    number = {sound_class: place for place, sound_class in enumerate(classes)}
    labels = np.eye(len(classes), dtype=np.float32)[[number[class_of(clip, config.class_by)] for clip in clips]]
    drawn = Draws(len(clips), training.batch, training.seed, True, config.sampling(clips))
    _check_parts(drawn, processes, training.accumulate)
    in_order = Draws(len(clips), training.batch, training.seed, False)
    source = _source(clips, inputs, config)

    def loader(train: bool) -> "DataLoader[Batch]":
        pairs = Pairs(clips) if train and config.pairs() else None
        parts = Parts(drawn, processes, process, training.accumulate) if train else Parts(in_order)
        workers = training.workers if train else 0
        return DataLoader(
            Batches(source, labels, inputs, config, pairs, train),
            batch_size=None,
            sampler=parts,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # or it would draw from the one that augmentations draw from
        )

    return loader(True), loader(False)


def from_frames(config: Config, inputs: Mapping[str, Spec]) -> bool:
    """Whether every window is a slice of its clip's frames."""
    return not config.mixing() and not config.pairs() and all(isinstance(spec, Framed) for spec in inputs.values())


def _source(clips: Sequence[Clip], inputs: Mapping[str, Spec], config: Config) -> Sounds | Frames:
    window, cache = max(config.crop, config.window), feature_cache()
    if cache.folder is not None and from_frames(config, inputs):
        specs = {name: spec for name, spec in inputs.items() if isinstance(spec, Framed)}
        return Frames(clips, window, specs, cache)
    return Sounds(clips, window, config.training.cache_mb * MIB)


def _check_parts(drawn: Draws, processes: int, each: int) -> None:
    """A part has two clips or more, as a batch norm needs, and two of each class where a batch is of P x K."""
    parts = f"{processes} processes x training.accumulate {each} parts"
    if processes * each > 1 and drawn.smallest // 2 < processes * each:
        raise ConfigError(
            f"{parts}: a batch has {drawn.smallest} clips, and a part wants two or more; give fewer of them, "
            "or a larger training.batch where there are more clips"
        )
    if drawn.per_class and processes * each > 1 and drawn.per_class // 2 < processes * each:
        raise ConfigError(
            f"{parts}: a batch has {drawn.per_class} clips of a class (clips_per_class), and a part wants two or more; "
            "give more of them, or fewer parts"
        )


def _batch(inputs: Inputs, labels: Floats, part: Part, pair: Inputs | None = None) -> Batch:
    paired = None if pair is None else _tensors(pair)
    clips = torch.tensor(_at(part.places, part.rows))
    return Batch(
        _tensors(inputs), torch.from_numpy(labels), paired, clips, part.seed, list(part.rows), len(part.places)
    )


def _augmented(sound: Floats, rngs: Sequence[np.random.Generator]) -> Floats:
    return np.stack([augment_sound.augment(row, rng) for row, rng in zip(sound, rngs, strict=True)])


def _at(items: Sequence[Item], rows: Sequence[int]) -> list[Item]:
    return [items[row] for row in rows]


def _tensors(inputs: Inputs) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in inputs.items()}


def _whole_frame(inputs: Mapping[str, Spec]) -> int:
    """Samples after which every input begins a frame."""
    return lcm(*[spec.step for spec in inputs.values() if isinstance(spec, Framed)])
