"""Sound to keep: what a detector was fed, and clips of a machine to train on or to fit references with."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge_runtime import quality
from edge_runtime.capture import Block
from edge_runtime.cli import say
from edge_runtime.errors import ConfigError
from edge_runtime.features import Floats
from edge_runtime.wav import WavWriter


class Saver:
    """FOLDER/000001.wav and on: one file for each unbroken recording, sample by sample what the detector was fed.

    Scoring these files gives the scores of the run exactly. A full disk ends the saving, not the listening.
    """

    def __init__(self, folder: Path, sample_rate: int) -> None:
        self.folder, self.files = folder, 0
        self._rate = sample_rate
        self._file: WavWriter | None = None
        self._broken = False

    def begin(self) -> None:
        """A new recording: the next file."""
        self.close()
        with self._reporting():
            if not self._broken:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._file = WavWriter(self.folder / numbered(self.files + 1), self._rate)
                self.files += 1

    def write(self, samples: Floats) -> None:
        """[samples], appended to the recording."""
        with self._reporting():
            if self._file is not None:
                self._file.write(samples)

    def close(self) -> None:
        """Finish the file at hand; one without sound is not kept."""
        file, self._file = self._file, None
        with self._reporting():
            if file is not None:
                file.close() if file.samples else file.discard()

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            file, self._file, self._broken = self._file, None, True
            with contextlib.suppress(OSError):  # what was written is whole up to here
                if file is not None:
                    file.close()
            say(f"warning: {self.folder}: sound cannot be saved ({error.strerror}); listening goes on without")


class ClipWriter:
    """FOLDER/000001.wav and on, each of exactly `samples` samples; no clip spans a gap."""

    def __init__(self, folder: Path, sample_rate: int, samples: int) -> None:
        self.folder, self.clips, self.broken = folder, 0, 0
        self._rate, self._samples = sample_rate, samples
        self._next = last_number(folder) + 1
        self._parts: list[Floats] = []

    def write(self, block: Block) -> None:
        """Take the first channel of the next sound; a clip is written when it is complete."""
        if block.lost or block.new:
            self.broken += bool(self._parts)
            self._parts = []
        sound = np.concatenate([*self._parts, block.samples[:, 0]])
        while len(sound) >= self._samples:
            self._save(sound[: self._samples])
            sound = sound[self._samples :]
        self._parts = [sound] if len(sound) else []

    def _save(self, sound: Floats) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = WavWriter(self.folder / numbered(self._next), self._rate)
        file.write(sound)
        file.close()
        self.clips, self._next = self.clips + 1, self._next + 1
        found = quality.judge(sound)
        level = "no level" if found.level_dbfs is None else f"{found.level_dbfs:6.1f} dBFS"
        warning = "  WARNING: " + ", ".join(found.faults) if found.faults else ""
        say(f"{file.path}  {level}{warning}")


def clip_folder(out: Path, label: str, append: bool, sample_rate: int) -> Path:
    """OUT/normal or OUT/anomaly; OUT must be new, unless it is added to."""
    if out.exists() and not append:
        raise ConfigError(f"OUT {out}: already exists; give another path, or --append to add to it")
    folder = out / label
    number = last_number(folder)
    if number:
        import soundfile

        there = soundfile.info(folder / numbered(number)).samplerate
        if there != sample_rate:
            raise ConfigError(f"{folder}: holds clips at {there} Hz, not {sample_rate} Hz; give another OUT")
    return folder


def numbered(number: int) -> str:
    """1 -> 000001.wav."""
    return f"{number:06d}.wav"


def last_number(folder: Path) -> int:
    """The greatest number among a folder's clips; 0 where there is none."""
    return max((int(file.stem) for file in folder.glob("*.wav") if file.stem.isdecimal()), default=0)
