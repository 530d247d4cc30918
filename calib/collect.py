"""Recordings -> what a model makes of each of their windows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.clips import Clip, load
from edge_runtime import features, quality
from edge_runtime.backends import Arrays, Backend
from edge_runtime.bundle import Model
from edge_runtime.cli import say
from edge_runtime.errors import DataError
from edge_runtime.features import LogMel
from edge_runtime.stream import windows

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

    @property
    def machines(self) -> list[str]:
        """Names of the machines, sorted."""
        return sorted({clip.machine for clip in self.clips})

    @property
    def target(self) -> NDArray[np.bool_]:
        """[windows] whether the window is of the target domain."""
        return np.array([clip.domain == "target" for clip in self.clips], bool)[self.clip]


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
    for index, clip in enumerate(clips):
        for inputs, level, scorable in clip_windows(clip, model):
            owner.append(index)
            mel.append(level)
            fit.append(scorable)
            waiting.append(inputs)
            if len(waiting) == batch:
                results.append(_run(backend, waiting))
                waiting = []
        if progress and (index + 1) % 100 == 0:
            say(f"  {index + 1} of {len(clips)} clips")
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
    for start, inputs in windows(audio, model.inputs, model.window, model.hop):
        sound = audio[start : start + model.window]
        own = next((inputs[name] for name, spec in model.inputs.items() if spec == MEL), None)
        mel = features.log_mel(sound, MEL) if own is None else own
        yield inputs, mel.mean(axis=0), quality.judge(sound).fit


def mean_per_clip(values: NDArray[np.floating], clip: NDArray[np.intp], clips: int) -> NDArray[np.float64]:
    """[windows] -> [clips]: a clip's score is the mean over its windows."""
    return np.bincount(clip, weights=values, minlength=clips) / np.maximum(np.bincount(clip, minlength=clips), 1)


def _run(backend: Backend, waiting: list[Arrays]) -> Arrays:
    return backend.run({name: np.stack([inputs[name] for inputs in waiting]) for name in waiting[0]})
