"""As much of sounddevice as is used: three devices, and streams that play what a test has written down.

It stands on the PYTHONPATH of the child process. FAKE_PORTAUDIO names a folder with script.json (see `Script` in
tests/edge_runtime/fake_microphone.py) and sound.raw: float32, two channels.
"""

import array
import json
import os
import threading
import time
from pathlib import Path

NAMES = ("Speaker", "USB Audio: left", "USB Audio: right")


class PortAudioError(Exception):
    pass


class default:  # noqa: N801 - sounddevice's name
    device = (1, 0)


def _script():
    folder = os.environ.get("FAKE_PORTAUDIO")
    return json.loads((Path(folder) / "script.json").read_text()) if folder else {"rates": [48_000], "steps": []}


def query_devices():
    rate = float((_script()["rates"] or [48_000])[0])
    return [
        {"index": index, "name": name, "max_input_channels": 2 * (index > 0), "default_samplerate": rate}
        for index, name in enumerate(NAMES)
    ]


class RawInputStream:
    def __init__(self, device, channels, samplerate, blocksize, latency, dtype, callback, finished_callback):
        if samplerate not in _script()["rates"]:
            raise PortAudioError("Error opening RawInputStream: Invalid sample rate [PaErrorCode -9997]")
        assert dtype == "float32"
        self.channels, self.callback, self.finished = channels, callback, finished_callback

    def start(self):
        threading.Thread(target=self._play, daemon=True).start()

    def close(self, ignore_errors):
        pass

    def _play(self):
        sound = array.array("f", (Path(os.environ["FAKE_PORTAUDIO"]) / "sound.raw").read_bytes())
        time.sleep(0.3)  # seconds: what comes before the child says that it listens is nobody's
        for start, stop, overflow, pause_s in _script()["steps"]:
            status = type("Status", (), {"input_overflow": overflow})
            frames = [sound[2 * frame + channel] for frame in range(start, stop) for channel in range(self.channels)]
            self.callback(memoryview(array.array("f", frames)).cast("B"), stop - start, None, status)
            time.sleep(pause_s)
        if _script()["ends"]:
            self.finished()
