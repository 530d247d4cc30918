"""Features computed once, kept on disk: a file for each clip and spec.

    FOLDER/features/<2 digits>/<key>.npy    an array of float32, then the CRC-32 of its bytes (4 bytes)

The key is the SHA-256 of every field of the spec, of the sound file's bytes, the channel, the sample rate, what part of
the clip it is and the source of edge_runtime/features.py: whatever would change a feature changes its key. A file is
written whole or not at all, so that processes share a folder; one that is damaged is computed again; those used least
recently go first when the limit is reached. The folder is AUSCULT_CACHE ("": none), else auscult in XDG_CACHE_HOME or
~/.cache; AUSCULT_CACHE_GB its limit. It can be removed at any time.
"""

import hashlib
import os
import tempfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from calib.clips import Clip, load
from edge_runtime import features
from edge_runtime.bundle import sha256
from edge_runtime.cli import say
from edge_runtime.config import cache_folder
from edge_runtime.errors import ConfigError
from edge_runtime.features import Floats, Framed, Spectrum

GB = 10**9  # bytes
LIMIT_GB = 10.0
BLOCK = 1024  # frames computed at a time: an hour of sound needs no more memory than half a minute
CRC_BYTES = 4


class FeatureCache:
    """The features of clips; without a folder they are computed whenever they are asked for."""

    def __init__(self, folder: Path | None, limit: int = round(LIMIT_GB * GB)) -> None:
        """`limit` bytes."""
        self.folder = None if folder is None else folder / "features"
        self._limit = limit
        self._written: int | None = None  # bytes since the folder was last looked through; None: not yet
        self._hashes: dict[tuple[Path, int, int], str] = {}  # of sound files, by path, size and time of change
        self._checked: set[Path] = set()  # files whose CRC-32 was right

    def framed(
        self,
        clip: Clip,
        spec: Framed,
        sound: Floats | None = None,
        channel: int = 0,
        sample_rate: int = features.SAMPLE_RATE,
    ) -> Floats:
        """The whole clip -> [frames, bins] float32, memory-mapped and read-only; frame i begins at sample i step.

        `sound`: the clip's samples, where the caller has them already.
        """

        def make() -> Floats:
            return _in_blocks(load(clip, channel, sample_rate) if sound is None else sound, spec)

        return self._kept(clip, (spec, channel, sample_rate), make)

    def whole(
        self,
        clip: Clip,
        spec: Spectrum,
        start: int,
        window: int,
        sound: Floats | None = None,
        channel: int = 0,
        sample_rate: int = features.SAMPLE_RATE,
    ) -> Floats:
        """One window, `window` samples from `start` on, -> the input that `spec` describes, memory-mapped."""

        def make() -> Floats:
            samples = load(clip, channel, sample_rate) if sound is None else sound
            return features.compute(samples[start : start + window], spec)

        return self._kept(clip, (spec, channel, sample_rate, start, window), make)

    def _kept(self, clip: Clip, what: tuple[object, ...], make: Callable[[], Floats]) -> Floats:
        if self.folder is None:
            return make()
        key = hashlib.sha256(msgspec.json.encode((_code(), self._hash(clip.path), *what))).hexdigest()
        file = self.folder / key[:2] / f"{key}.npy"
        if (found := self._read(file)) is not None:
            return found
        made = make()
        self._write(file, made)
        found = self._read(file)  # in its place: pages of a file can be given back, memory cannot
        return made if found is None else found

    def _hash(self, path: Path) -> str:
        status = path.stat()
        known = (path, status.st_size, status.st_mtime_ns)
        if known not in self._hashes:
            self._hashes[known] = sha256(path)
        return self._hashes[known]

    def _read(self, file: Path) -> Floats | None:
        """A file's array; None where there is none or it is damaged."""
        try:
            if file not in self._checked:
                if not _is_whole(file):
                    return None
                self._checked.add(file)
                os.utime(file)  # used now: among the last to be removed
            array: Floats = np.load(file, mmap_mode="r", allow_pickle=False)
            return array
        except OSError:
            return None

    def _write(self, file: Path, array: Floats) -> None:
        """A cache that cannot be written stops nothing."""
        try:
            self._make_room(array.nbytes)
            file.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(file, array)
        except OSError as error:
            say(f"{self.folder}: {error.strerror}; features are not kept, AUSCULT_CACHE names another folder")
            self.folder = None

    def _make_room(self, size: int) -> None:
        """Each time a twentieth of the limit is written, remove what was used least recently, down to nine tenths."""
        if self._written is not None and self._written + size < self._limit // 20:
            self._written += size
            return
        self._written = size
        files = self._files()
        excess = sum(length for _, length, _ in files) + size - self._limit * 9 // 10
        for _, length, file in files:
            if excess <= 0:
                break
            file.unlink(missing_ok=True)
            self._checked.discard(file)
            excess -= length

    def _files(self) -> list[tuple[int, int, Path]]:
        """(time of last use, bytes, path) of every file, the one used least recently first."""
        assert self.folder is not None
        found = []
        for file in self.folder.glob("??/*"):
            with suppress(FileNotFoundError):  # another process removed it
                status = file.stat()
                found.append((status.st_mtime_ns, status.st_size, file))
        return sorted(found)


def feature_cache() -> FeatureCache:
    """The cache that the environment names, the same one for all who ask."""
    return _opened(cache_folder(), os.environ.get("AUSCULT_CACHE_GB", str(LIMIT_GB)))


@lru_cache(maxsize=4)
def _opened(folder: Path | None, limit: str) -> FeatureCache:
    try:
        size = round(float(limit) * GB)
    except (ValueError, OverflowError):
        size = 0
    if size <= 0:
        raise ConfigError(f"AUSCULT_CACHE_GB={limit}: wanted gigabytes above 0; an empty AUSCULT_CACHE keeps none")
    return FeatureCache(folder, size)


def _in_blocks(sound: Floats, spec: Framed) -> Floats:
    """[samples] -> [frames, bins]: a frame does not depend on those beside it."""
    frames = features.frames_in(len(sound), spec)
    if frames <= BLOCK:
        return features.compute(sound, spec)
    out = np.empty(features.shape(spec, len(sound)), np.float32)
    for first in range(0, frames, BLOCK):
        last = min(first + BLOCK, frames)
        samples = sound[first * spec.step : (last - 1) * spec.step + spec.n_fft]
        out[first:last] = features.compute(samples, spec)
    return out


def _write_whole(file: Path, array: Floats) -> None:
    handle, name = tempfile.mkstemp(dir=file.parent, suffix=".partial")
    partial = Path(name)
    try:
        with os.fdopen(handle, "w+b") as stream:
            np.save(stream, array)
            stream.write(_crc(stream, stream.tell()))
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _is_whole(file: Path) -> bool:
    with file.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END) - CRC_BYTES
        return size > 0 and _crc(stream, size) == stream.read()


def _crc(stream: BinaryIO, size: int) -> bytes:
    """CRC-32 of the first `size` bytes of a file, which is then read on from there."""
    stream.seek(0)
    found = 0
    while size > 0 and (chunk := stream.read(min(size, 1 << 20))):
        found = zlib.crc32(chunk, found)
        size -= len(chunk)
    return found.to_bytes(CRC_BYTES, "little")


@lru_cache(maxsize=1)
def _code() -> str:
    """The source of the features is part of what they are."""
    return sha256(Path(features.__file__))
