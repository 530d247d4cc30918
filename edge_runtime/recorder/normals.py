"""Normal sounds that were heard on this site, one at most for each of a machine's normal spectra, to compare by ear.

STATE/normal/MACHINE/03.flac    a window whose nearest normal spectrum is the fourth; its comment says when, and
                                its mean log-mel
"""

import time
from pathlib import Path

import msgspec
import numpy as np
import soundfile

from edge_runtime import safe_file
from edge_runtime.features import Floats
from edge_runtime.recorder import disk, folder
from edge_runtime.recorder.draft import flac
from edge_runtime.recorder.memory import Samples

FOLDER = "normal"
DAY_S = 86_400.0  # seconds before the same normal sound is written again: SD cards live by what is not written


class Normal(msgspec.Struct, frozen=True):
    """What the comment of a file says."""

    machine: str
    time: str  # UTC, ISO 8601
    clock: str  # what was wrong with the wall clock then, or ""
    level: list[float]  # [n_mels] dB


class Normals:
    """`wants` is asked by the loop that listens, all else is done by the thread that writes."""

    def __init__(self, state: Path) -> None:
        self._folder = state / FOLDER
        self._next_s: dict[tuple[str, int], float] = {}  # monotonic seconds at which a sound may be written again
        self._there: dict[str, dict[Path, Floats]] = {}  # of each machine: file -> mean log-mel [n_mels] dB

    def open(self, machine: str, folder_name: str, count: int) -> None:
        """Take what was heard before this start; what is not ours, or of a spectrum that is no more, goes."""
        found: dict[Path, Floats] = {}
        for file in sorted((self._folder / folder_name).glob("*")):
            heard = read(file) if file.suffix == ".flac" else None
            if heard is None or not file.stem.isdecimal() or int(file.stem) >= count:
                file.unlink(missing_ok=True)
            else:
                found[file] = np.array(heard.level, np.float32)
                age_s = time.time() - (disk.seconds(heard.time) or float("inf"))
                fresh_s = DAY_S - age_s if age_s >= 0.0 else DAY_S  # of one from the future: the clock is not set yet
                self._next_s[machine, int(file.stem)] = time.monotonic() + fresh_s
        self._there[machine] = found

    def wants(self, machine: str, number: int, now_s: float) -> bool:
        """Is it time for another sound of that spectrum? Asked once: it is taken for written."""
        if now_s < self._next_s.get((machine, number), float("-inf")):
            return False
        self._next_s[machine, number] = now_s + DAY_S
        return True

    def keep(self, folder_name: str, number: int, sound: Samples, heard: Normal) -> None:
        """Write one, in the place of an older one."""
        place = self._folder / folder_name
        self._folder.mkdir(mode=folder.PRIVATE, parents=True, exist_ok=True)
        file = place / f"{number:02d}.flac"
        safe_file.write(file, flac(sound, msgspec.json.encode(heard).decode()))
        self._there.setdefault(heard.machine, {})[file] = np.array(heard.level, np.float32)

    def nearest(self, machine: str, level: Floats) -> tuple[Path, float] | None:
        """Mean log-mel [n_mels] dB -> the sound that differs least from it, and by how much in dB; None: none yet."""
        distances = {
            file: float(np.abs(level - own).mean())
            for file, own in self._there.get(machine, {}).items()
            if file.exists()
        }
        return min(distances.items(), key=lambda item: item[1]) if distances else None


def read(file: Path) -> Normal | None:
    """What a file says of itself; None where it is none of ours."""
    try:
        with soundfile.SoundFile(file) as sound:
            return msgspec.json.decode(sound.comment, type=Normal)
    except (soundfile.LibsndfileError, msgspec.MsgspecError, OSError):
        return None


def files(state: Path) -> list[Path]:
    """Every normal sound that is kept."""
    return sorted((state / FOLDER).glob("*/*.flac"))


def times(state: Path) -> dict[Path, tuple[str, float | None]]:
    """Of every normal sound its name and time, and that in UTC seconds; None: by a clock that was not set."""
    found = {}
    for file in files(state):
        heard = read(file)
        utc_s = None if heard is None or heard.clock else disk.seconds(heard.time)
        found[file] = f"{file.relative_to(state / FOLDER)} {heard.time if heard else ''}".strip(), utc_s
    return found
