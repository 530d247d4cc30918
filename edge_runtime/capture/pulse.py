"""Which source of PulseAudio or PipeWire a stream hears: either may move it to another one without a word."""

import os
import re
import subprocess

import msgspec

LOOK_S = 1.0  # seconds that a look may take
BETWEEN_S = 2.0  # seconds between looks


class Place(msgspec.Struct, frozen=True):
    """The source that a stream is connected to."""

    number: int  # in the sound server; never given again while it runs
    source: str  # its name there
    rate: int  # Hz, its own
    channels: int
    suspended: bool = False


def look(process: int) -> Place | None:
    """Where the stream of a process is connected; None where there is no sound server, or none that knows it."""
    index = source_of(_said("list", "source-outputs"), process)
    return None if index is None else place_of(_said("list", "short", "sources"), index)


def moved(process: int, place: Place) -> Place | None:
    """Where the stream is connected now, if that is another source."""
    index = source_of(_said("list", "source-outputs"), process)
    if index in (None, place.number):
        return None
    now = look(process)
    return None if now is None or now.source == place.source else now


def reached() -> bool:
    """Whether there is a sound server, and pactl to ask it."""
    return bool(_said("info"))


def source_of(outputs: str, process: int) -> int | None:
    """`pactl list source-outputs` -> the number of the source that this process hears."""
    for part in outputs.split("Source Output #")[1:]:
        source = re.search(r"^\s*Source: (\d+)$", part, re.MULTILINE)
        if source and f'application.process.id = "{process}"' in part:
            return int(source[1])
    return None


def place_of(sources: str, index: int) -> Place | None:
    """`pactl list short sources` -> the source of this number."""
    for line in sources.splitlines():
        number, name, _, form, state = (line.split("\t") + [""] * 5)[:5]
        sample = re.search(r"(\d+)ch (\d+)Hz", form)
        if number == str(index) and sample:
            return Place(index, name, int(sample[2]), int(sample[1]), state == "SUSPENDED")
    return None


def _said(*words: str) -> str:
    try:
        done = subprocess.run(
            ["pactl", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=LOOK_S,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace")
