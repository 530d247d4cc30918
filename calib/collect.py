"""Recordings -> what a model makes of each of their windows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calib.cache import FeatureCache, feature_cache
from calib.clips import Clip, load
from calib.progress import bar
from edge_runtime import features, quality
from edge_runtime.backends import Arrays, Backend
from edge_runtime.bundle import Model
from edge_runtime.errors import DataError
from edge_runtime.features import Framed, LogMel, Spec, Spectrum, Waveform

MEL = LogMel()


@dataclass(frozen=True)
class Collected:
    """The windows of some clips; windows of one clip share a recording and never part."""

    clips: list[Clip]
    clip: NDArray[np.intp]  # [windows] index into clips
    outputs: Arrays  # [windows, ...] by name
    mel: NDArray[np.float32]  # [windows, n_mels] time mean of the log-mel, dB
    fit: NDArray[np.bool_]  # [windows] whether the sound may be scored (edge_runtime/quality.py)

    def select(self, clips: Sequence[bool] | NDArray[np.bool_]) -> "Collected":
        """Only the clips where the mask [clips] is true."""
        mask = np.asarray(clips, bool)
        kept = mask[self.clip]
        renumbered = (np.cumsum(mask) - 1)[self.clip[kept]]
        return Collected(
            clips=[clip for clip, keep in zip(self.clips, mask, strict=True) if keep],
            clip=renumbered.astype(np.intp),
            outputs={name: array[kept] for name, array in self.outputs.items()},
            mel=self.mel[kept],
            fit=self.fit[kept],
        )

    def machine(self, name: str) -> "Collected":
        """Only the clips of one machine."""
        return self.select([clip.machine == name for clip in self.clips])

    def part(self, who: str) -> "Collected":
        """The outputs called "who/name", as "name": what one of several models made of the windows."""
        start = f"{who}/"
        own = {name.removeprefix(start): array for name, array in self.outputs.items() if name.startswith(start)}
        return replace(self, outputs=own)

    @property
    def machines(self) -> list[str]:
        """Names of the machines, sorted."""
        return sorted({clip.machine for clip in self.clips})

    @property
    def target(self) -> NDArray[np.bool_]:
        """[windows] whether the window is of the target domain."""
        return np.array([clip.domain == "target" for clip in self.clips], bool)[self.clip]

    @property
    def kind(self) -> NDArray[np.intp]:
        """[windows] number of the attributes and domain of the window's clip."""
        names = [f"{clip.domain} {clip.attributes}" for clip in self.clips]
        return np.unique(names, return_inverse=True)[1].astype(np.intp)[self.clip]


def collect(
    clips: Iterable[Clip], model: Model, backend: Backend, batch: int = 16, progress: bool = False
) -> Collected:
    """Every window of every clip through the backend, `batch` windows at a time."""
    clips = list(clips)
    owner: list[int] = []
    mel: list[NDArray[np.float32]] = []
    fit: list[bool] = []
    results: list[Arrays] = []
    waiting: list[Arrays] = []
    for index, clip in enumerate(bar(clips, "clips") if progress else clips):
        for inputs, level, scorable in clip_windows(clip, model):
            owner.append(index)
            mel.append(level)
            fit.append(scorable)
            waiting.append(inputs)
            if len(waiting) == batch:
                results.append(_run(backend, waiting))
                waiting = []
    if waiting:
        results.append(_run(backend, waiting))
    if not results:
        raise DataError("no clips to calibrate on: give a data set that has some for this machine and split")
    return Collected(
        clips=clips,
        clip=np.array(owner, np.intp),
        outputs={name: np.concatenate([result[name] for result in results]) for name in results[0]},
        mel=np.stack(mel),
        fit=np.array(fit, bool),
    )


def clip_windows(clip: Clip, model: Model) -> Iterable[tuple[Arrays, NDArray[np.float32], bool]]:
    """Of each window of a clip: the model's inputs, its time-mean log-mel [n_mels] dB, whether it may be scored."""
    audio = load(clip, sample_rate=model.sample_rate)
    if len(audio) < model.window:
        rate = model.sample_rate
        raise DataError(
            f"{clip.path}: {len(audio) / rate:.2f} s, shorter than the window of {model.window / rate:.2f} s "
            f"({(model.window - MEL.n_fft) // MEL.step + 1} frames); use a model with a shorter window"
        )
    sound = _Sound(clip, audio, model, feature_cache())
    for start in range(0, len(audio) - model.window + 1, model.hop):
        inputs = {name: sound.window(start, spec) for name, spec in model.computed.items()}
        part = audio[start : start + model.window]
        yield inputs, sound.window(start, MEL).mean(axis=0), quality.judge(part, sample_rate=model.sample_rate).fit


class _Sound:
    """A clip and the features of its windows: framed ones are slices of the whole clip's, computed once."""

    def __init__(self, clip: Clip, audio: NDArray[np.float32], model: Model, cache: FeatureCache) -> None:
        self._clip, self._audio, self._model, self._cache = clip, audio, model, cache
        self._frames: dict[Framed, NDArray[np.float32]] = {}

    def window(self, start: int, spec: Spec) -> NDArray[np.float32]:
        """The input that `spec` describes, of the window that begins at a sample."""
        length, rate = self._model.window, self._model.sample_rate
        if isinstance(spec, Spectrum):
            return np.asarray(self._cache.whole(self._clip, spec, start, length, sound=self._audio, sample_rate=rate))
        if isinstance(spec, Waveform) or start % spec.step:
            return features.compute(self._audio[start : start + length], spec)
        if spec not in self._frames:
            self._frames[spec] = self._cache.framed(self._clip, spec, sound=self._audio, sample_rate=rate)
        first = start // spec.step
        return np.asarray(self._frames[spec][first : first + features.frames_in(length, spec)])


def mean_per_clip(values: NDArray[np.floating], clip: NDArray[np.intp], clips: int) -> NDArray[np.float64]:
    """[windows] -> [clips]: a clip's score is the mean over its windows."""
    return np.bincount(clip, weights=values, minlength=clips) / np.maximum(np.bincount(clip, minlength=clips), 1)


def _run(backend: Backend, waiting: list[Arrays]) -> Arrays:
    return backend.run({name: np.stack([inputs[name] for inputs in waiting]) for name in waiting[0]})
