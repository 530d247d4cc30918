"""A loudspeaker without one: as much of PortAudio as the player uses, for its process.

The folder FAKE_SPEAKER keeps what was played in `played`; `fault` is what a test wants to go wrong: "gone", "raise" or
"hang".
"""

import os
import time
from pathlib import Path

ROOM = Path(os.environ["FAKE_SPEAKER"])
assert "numpy" not in __import__("sys").modules


class PortAudioError(Exception):
    pass


def fault():
    return (ROOM / "fault").read_text() if (ROOM / "fault").exists() else ""


def check_output_settings(device, channels, dtype, samplerate):
    if fault() == "gone" or device == "nobody":
        raise ValueError(f"No output device matching {device!r}")


class RawOutputStream:
    def __init__(self, device, samplerate, channels, dtype, latency):
        self.seconds = 1 / (samplerate * channels * int("".join(filter(str.isdigit, dtype))) // 8)

    def start(self):
        pass

    def write(self, data):
        if fault() == "raise":
            raise PortAudioError("Unanticipated host error [PaErrorCode -9999]")
        if fault() == "hang":
            time.sleep(60)
        time.sleep(self.seconds * len(data))
        with (ROOM / "played").open("ab") as stream:
            stream.write(data)

    def abort(self):
        pass

    def close(self):
        pass
