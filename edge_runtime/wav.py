"""A WAV file of one channel, float32, that is whole or absent; it becomes RF64 where 4 GB are not enough.

    RIFF size WAVE | JUNK 28 bytes | fmt 18 bytes | fact 4 bytes | data ...

Beyond 4 GB the first word becomes RF64 and JUNK becomes ds64, which holds the sizes in 64 bits (EBU Tech 3306).
Float32 because it is what the detector is fed: nothing is rounded, and a quiet microphone keeps its resolution.
"""

import struct
from pathlib import Path

from edge_runtime.features import Floats

LARGEST = 0xFFFFFFFF  # bytes that the 32-bit sizes of RIFF can say
HEADER = 94  # bytes before the first sample
IEEE_FLOAT = 3  # the format's number in "fmt "


class WavWriter:
    """Writes under a temporary name beside `path` until it is closed."""

    def __init__(self, path: Path, sample_rate: int, largest: int = LARGEST) -> None:
        self.path, self.samples = path, 0
        self._rate, self._largest = sample_rate, largest
        self._partial = path.with_name(f".{path.name}.partial")
        self._file = self._partial.open("xb")
        self._file.write(self._header())

    def write(self, samples: Floats) -> None:
        """[samples] float32, appended."""
        self._file.write(samples.astype("<f4", copy=False).tobytes())
        self.samples += len(samples)

    def close(self) -> None:
        """Put the length into the header and give the file its name."""
        self._file.seek(0)
        self._file.write(self._header())
        self._file.close()
        self._partial.rename(self.path)

    def discard(self) -> None:
        """Leave nothing behind."""
        self._file.close()
        self._partial.unlink()

    def _header(self) -> bytes:
        data = 4 * self.samples
        riff = HEADER - 8 + data
        if riff <= self._largest:
            head = struct.pack("<4sI4s4sI28x", b"RIFF", riff, b"WAVE", b"JUNK", 28)
        else:
            sizes = struct.pack("<QQQI", riff, data, self.samples, 0)
            head = struct.pack("<4sI4s4sI", b"RF64", LARGEST, b"WAVE", b"ds64", 28) + sizes
            data = LARGEST
        form = struct.pack("<4sIHHIIHHH", b"fmt ", 18, IEEE_FLOAT, 1, self._rate, 4 * self._rate, 4, 32, 0)
        fact = struct.pack("<4sII", b"fact", 4, min(self.samples, LARGEST))
        return head + form + fact + struct.pack("<4sI", b"data", data)
