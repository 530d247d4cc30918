"""A microphone without one: as much of PortAudio as is used, played into by a test."""

import numpy as np


class Microphone:
    """PortAudio as far as it is used: two devices, and streams that a test plays sound into."""

    class PortAudioError(Exception):
        pass

    default = type("Default", (), {"device": (1, 0)})

    def __init__(self, rates=(16_000, 48_000), script=()):
        self.rates, self.script, self.stream = rates, script, None
        names = ("Speaker", "USB Audio: left", "USB Audio: right")
        self.found = [
            {"index": index, "name": name, "max_input_channels": 2 * (index > 0), "default_samplerate": 48_000.0}
            for index, name in enumerate(names)
        ]

    def query_devices(self, device=None, kind=None):
        if kind is None:
            return self.found
        if device is None:
            device = self.default.device[0]
        if isinstance(device, int):
            if device >= len(self.found):
                raise self.PortAudioError(f"Error querying device {device}")
            return self.found[device]
        matches = [found for found in self.found if device in found["name"] and found["max_input_channels"]]
        if len(matches) != 1:
            raise ValueError("Multiple input devices found" if matches else f"No input device matching {device!r}")
        return matches[0]

    def InputStream(self, **options):  # noqa: N802 - PortAudio's name
        if options["samplerate"] not in self.rates:
            raise self.PortAudioError("Invalid sample rate [PaErrorCode -9997]")
        self.stream = Stream(self.script, **options)
        return self.stream


class Stream:
    """Gives what its script says: (samples [frames], overflow before them), "end", or then nothing any more."""

    def __init__(self, script, callback, finished_callback, channels, **_):
        self.callback, self.finished, self.channels, self.script = callback, finished_callback, channels, script
        self.closed = False

    def start(self):
        for item in self.script:
            if item == "end":
                self.finished()
                return
            samples, overflow = item
            indata = np.zeros((len(samples), self.channels), np.float32)
            indata[:, 1:] = samples[:, None]  # channel 0 is dead
            status = type("Status", (), {"input_overflow": overflow})
            self.callback(indata, len(samples), None, status)
            indata[:] = np.nan  # PortAudio uses the buffer again

    def close(self, ignore_errors):
        self.closed = True


def pieces(sound, size=512):
    return [(part, False) for part in np.split(sound, range(size, len(sound), size))]
