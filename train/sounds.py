"""What batches are made from: the sound of clips, their features on disk, and who is whose pair."""

from collections.abc import Hashable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from calib.cache import FeatureCache
from calib.clips import Clip, load
from calib.progress import bar
from edge_runtime import features
from edge_runtime.errors import DataError
from edge_runtime.features import Floats, Framed

Inputs = dict[str, Floats]  # by name, [B, ...]


class Sounds:
    """The sound of some clips, as much of it in memory as the limit allows."""

    def __init__(self, clips: Sequence[Clip], window: int, limit: int) -> None:
        """`window` samples: no clip may be shorter. `limit` bytes are held; all clips are read once to see."""
        self._clips, self.lengths = clips, np.zeros(len(clips), np.int64)  # samples
        self._held: dict[int, NDArray[np.int16] | Floats] = {}
        for place, sound in _read(clips, window):
            self.lengths[place] = len(sound)
            packed = _pack(sound)
            limit -= packed.nbytes
            if limit >= 0:
                self._held[place] = packed

    def __getitem__(self, place: int) -> Floats:
        """[samples] float32."""
        held = self._held.get(place)
        return load(self._clips[place]) if held is None else _unpack(held)


class Frames:
    """The framed inputs of some clips, kept on disk."""

    def __init__(self, clips: Sequence[Clip], window: int, specs: Mapping[str, Framed], cache: FeatureCache) -> None:
        """`window` samples: no clip may be shorter. What is not kept yet is computed now."""
        self._clips, self._specs, self._cache = clips, specs, cache
        self.lengths = np.zeros(len(clips), np.int64)  # samples
        for place, sound in _read(clips, window):
            self.lengths[place] = len(sound)
            for spec in specs.values():
                cache.framed(clips[place], spec, sound)

    def windows(self, places: Sequence[int], starts: Sequence[int], window: int) -> Inputs:
        """Inputs of the windows that begin at these samples, each the first of a frame."""
        found: dict[str, list[Floats]] = {name: [] for name in self._specs}
        for place, start in zip(places, starts, strict=True):
            for name, spec in self._specs.items():
                first = start // spec.step
                frames = self._cache.framed(self._clips[place], spec)
                found[name].append(frames[first : first + features.frames_in(window, spec)])
        return {name: np.stack(rows) for name, rows in found.items()}


class Pairs:
    """For each clip those of its machine under other conditions; where there are none, its others; or itself."""

    def __init__(self, clips: Sequence[Clip]) -> None:
        self._machine = _numbered([clip.machine for clip in clips])
        self._condition = _numbered([(clip.attributes, clip.domain) for clip in clips])
        self._members = [np.flatnonzero(self._machine == machine) for machine in range(self._machine.max() + 1)]

    def candidates(self, place: int) -> NDArray[np.intp]:
        """All clips that may be drawn for one."""
        members = self._members[self._machine[place]]
        elsewhere = members[self._condition[members] != self._condition[place]]
        if len(elsewhere):
            return elsewhere
        return members[members != place] if len(members) > 1 else members

    def draw(self, places: Sequence[int], rng: np.random.Generator) -> list[int]:
        """A partner for each clip."""
        choices = [self.candidates(place) for place in places]
        return [int(among[rng.integers(len(among))]) for among in choices]


def _read(clips: Sequence[Clip], window: int) -> Iterator[tuple[int, Floats]]:
    """Every clip's place and sound; one that is shorter than `window` samples is refused."""
    for place, clip in enumerate(bar(clips, "reading")):
        sound = load(clip)
        if len(sound) < window:
            raise DataError(_too_short(clip, len(sound), window))
        yield place, sound


def _pack(sound: Floats) -> NDArray[np.int16] | Floats:
    """16-bit sound in half the room; any other as it is."""
    steps = np.clip(sound * 32_768.0, -32_768.0, 32_767.0).astype(np.int16)
    return steps if np.array_equal(_unpack(steps), sound) else sound


def _unpack(packed: NDArray[np.int16] | Floats) -> Floats:
    sound = packed.astype(np.float32, copy=False)
    return sound / np.float32(32_768.0) if packed.dtype == np.int16 else sound


def _too_short(clip: Clip, samples: int, window: int) -> str:
    rate = features.SAMPLE_RATE
    return (
        f"{clip.path}: {samples / rate:.2f} s, shorter than the window of {window / rate:.2f} s; "
        "set a smaller window_frames (--set window_frames=N) or leave the clip out"
    )


def _numbered(words: Sequence[Hashable]) -> NDArray[np.intp]:
    """Equal words, equal numbers from 0."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(word, len(known)) for word in words], np.intp)
