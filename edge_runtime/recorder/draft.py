"""What the thread that writes is handed: all of one event in memory, and its files made of it."""

import io

import msgspec
import numpy as np
import soundfile

from edge_runtime import features
from edge_runtime.features import SAMPLE_RATE, Floats, LogMel
from edge_runtime.recorder import event, pictures
from edge_runtime.recorder.event import Event, EventWindow, Pictures
from edge_runtime.recorder.memory import Samples, in_float

SPEC = LogMel()
PIECE = 64  # frames that are computed at once: the loop that listens waits for no more than a piece
AVERAGED = 8  # frames (0.256 s) to a column of features-only: from full ones speech can be made audible again


class Draft(msgspec.Struct, frozen=True):
    """An event, to be written."""

    event: Event
    sound: Samples
    windows: list[EventWindow]
    normal: Floats  # [n_mels] dB: the normal spectrum that is nearest to the window that alarmed
    level: Floats  # [n_mels] dB: mean log-mel of that window

    def files(self) -> tuple[Event, dict[str, bytes]]:
        """The manifest, and every file but it by name."""
        mel = log_mel(self.sound, [(round(a * SAMPLE_RATE), round(b * SAMPLE_RATE)) for a, b in self.event.gaps])
        playable = self.event.privacy == "sound"
        shown, files = seen(mel if playable else averaged(mel), self.normal, 1 if playable else AVERAGED)
        if playable:
            files[event.SOUND] = flac(self.sound)
        files[event.WINDOWS] = msgspec.json.format(msgspec.json.encode(self.windows))
        return msgspec.structs.replace(self.event, pictures=shown), files


def seen(mel: Floats, normal: Floats, frames: int) -> tuple[Pictures, dict[str, bytes]]:
    """Features and pictures of [columns, n_mels] dB, so many frames to a column."""
    shown = pictures.scale(mel, frames * SPEC.step / SPEC.sample_rate)
    stream = io.BytesIO()
    np.savez(stream, mel=mel.astype(np.float16), normal=normal.astype(np.float16))
    return shown, {
        event.FEATURES: stream.getvalue(),
        event.SPECTROGRAM: pictures.spectrogram(mel, shown),
        event.DEVIATION: pictures.deviation(mel, normal, shown),
    }


def log_mel(sound: Samples, gaps: list[tuple[int, int]]) -> Floats:
    """[samples] -> [frames, n_mels] dB; NaN for frames that touch a gap (first sample, the one after the last)."""
    frames = features.frames_in(len(sound), SPEC)
    found: Floats = np.full((frames, SPEC.n_mels), np.nan, np.float32)
    for at in range(0, frames, PIECE):
        count = min(PIECE, frames - at)
        part = sound[at * SPEC.step :][: features.samples_of(count, SPEC)]
        found[at : at + count] = features.log_mel(in_float(part), SPEC)
    for start, end in gaps:
        first = max(0, (start - SPEC.n_fft) // SPEC.step + 1)  # the first frame whose last sample is behind the start
        found[first : -(-end // SPEC.step)] = np.nan
    return found


def averaged(mel: Floats) -> Floats:
    """[frames, n_mels] -> the mean of each AVERAGED frames, dB; what is left over is a shorter mean."""
    return np.stack([mel[at : at + AVERAGED].mean(axis=0) for at in range(0, len(mel), AVERAGED)] or [mel])


def flac(sound: Samples, comment: str = "") -> bytes:
    """[samples] -> a FLAC file: in memory, so that an error of the disk is one of the disk."""
    stream = io.BytesIO()
    with soundfile.SoundFile(stream, "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC") as file:
        if comment:
            file.comment = comment
        for at in range(0, len(sound), SAMPLE_RATE):
            file.write(sound[at : at + SAMPLE_RATE])
    return stream.getvalue()
