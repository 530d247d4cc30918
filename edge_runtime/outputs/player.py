"""Plays a WAV file over and over, in a process of its own, which may hang with its sound server.

    python -m edge_runtime.outputs.player FILE DEVICE PAUSE_S CHECK_S

A line of stdin: "1" play, "0" be silent; each is answered. While silent it looks at the device every CHECK_S, so that
a loudspeaker that is gone is said before it should sound. Without NumPy: it waits beside a listener that is short of
memory. It ends at the first failure, so that its successor sees the devices as they are then.
"""

import ctypes
import math
import os
import select
import signal
import sys
import time
import wave
from contextlib import suppress
from typing import Any

from edge_runtime.outputs.keeper import answer

CHUNK_S = 0.05  # seconds of sound between two looks at stdin
LONGEST_S = 60.0  # seconds of a file
DEATH_OF_PARENT = 1  # PR_SET_PDEATHSIG
FORMATS = {1: "uint8", 2: "int16", 3: "int24", 4: "int32"}  # bytes of a sample -> PortAudio's name


class Sound:
    """A WAV file, whole, with the silence after it."""

    def __init__(self, file: str, pause_s: float) -> None:
        """Raises wave.Error, EOFError or OSError where it is none."""
        with wave.open(file, "rb") as stream:
            self.rate, self.channels, self.width = stream.getframerate(), stream.getnchannels(), stream.getsampwidth()
            frames = stream.getnframes()
            if not 0.0 < frames / self.rate <= LONGEST_S:
                raise wave.Error(f"{frames / self.rate:g} s long, wanted up to {LONGEST_S:g} s")
            data = stream.readframes(frames)
        silence = b"\x80" if self.width == 1 else b"\x00"
        self.size = self.channels * self.width  # bytes of a frame
        self.data = data + silence * (round(pause_s * self.rate) * self.size)


class Player:
    """A stream that is open while it plays."""

    def __init__(self, sound: Sound, device: str, check_s: float) -> None:
        import sounddevice

        self._portaudio, self._sound, self._check_s = sounddevice, sound, check_s
        self._device = device or None
        self._stream: Any = None
        self._at = 0  # byte
        self._checked = -math.inf  # monotonic seconds
        self.check()

    @property
    def plays(self) -> bool:
        """Whether there is more to play."""
        return self._stream is not None

    def set(self, playing: bool) -> None:
        """From the file's beginning, or silent at once."""
        if playing and self._stream is None:
            self._stream = self._portaudio.RawOutputStream(**self._options(), latency="high")
            self._stream.start()
            self._at = 0
        elif not playing and self._stream is not None:
            stream, self._stream = self._stream, None
            stream.abort()
            stream.close()

    def play(self) -> None:
        """The next bit, as slowly as it sounds."""
        step = round(CHUNK_S * self._sound.rate) * self._sound.size
        self._stream.write(self._sound.data[self._at : self._at + step])
        self._at = self._at + step if self._at + step < len(self._sound.data) else 0

    def check(self) -> None:
        """A device that is not there is an error now, not when it should sound; now and then."""
        if time.monotonic() - self._checked >= self._check_s:
            self._portaudio.check_output_settings(**self._options())
            self._checked = time.monotonic()

    def _options(self) -> dict[str, Any]:
        sound = self._sound
        return {
            "device": self._device,
            "samplerate": sound.rate,
            "channels": sound.channels,
            "dtype": FORMATS[sound.width],
        }


def serve(player: Player) -> None:
    """Until stdin ends. It answers after a bit of the sound, so that "ok" says that it could be played."""
    while True:
        told = b""
        if select.select([0], [], [], 0.0 if player.plays else None)[0]:
            told = os.read(0, 4096)
            if not told:
                return
            player.set(told.split()[-1:] == [b"1"])
        if player.plays:
            player.play()
        else:
            player.check()
        for _ in range(told.count(b"\n")):
            answer("ok")


def main(words: list[str]) -> int:
    """Play until told otherwise."""
    ctypes.CDLL(None).prctl(DEATH_OF_PARENT, signal.SIGKILL)  # where it hangs, it does not see that stdin ends
    file, device, pause_s, check_s = words
    try:
        serve(Player(Sound(file, float(pause_s)), device, float(check_s)))
    except SystemExit:  # nobody reads the answers any more
        os._exit(0)
    except ImportError:
        words = ["the Python package sounddevice is missing; pip install 'auscult[mic]'"]
    except (wave.Error, EOFError, OSError) as error:
        words = [f"{file} cannot be played ({error}); give a PCM WAV file, and see that libportaudio2 is there"]
    except Exception as error:  # PortAudioError, ValueError of a device's name: the parent reports and starts again
        words = [f"{device or 'the default loudspeaker'} cannot play ({' '.join(str(error).split())})"]
    else:
        os._exit(0)  # PortAudio would wait for a sound server that hangs
    with suppress(OSError, SystemExit):
        answer(words[0])
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
