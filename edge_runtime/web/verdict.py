"""A machine in one word, and what is wanted of who reads it. Silence is never health, and what is old is not known."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from edge_runtime.alarm.words import HIDDEN, Kept, Kind, State
from edge_runtime.journal import Heard

Look = Literal["alarm", "warning", "deaf", "attention", "hidden", "normal", "unknown"]

WANTED: dict[tuple[Kind, State], str] = {
    ("anomaly", "normal"): "",
    ("anomaly", "unacknowledged"): "Go there and listen. Acknowledge it, so that others know that you have seen it.",
    ("anomaly", "acknowledged"): "Somebody has seen it. It is over when the machine sounds normal again.",
    ("anomaly", "returned_unacknowledged"): "It is over. Acknowledge it, to say that you have seen it.",
    (
        "anomaly",
        "latched_unacknowledged",
    ): "The sound is normal again, the alarm stays: go there, acknowledge and reset.",
    ("anomaly", "latched_acknowledged"): "The sound is normal again, the alarm stays: go there, look, then reset.",
    ("anomaly", "shelved"): "Hidden for a while: nobody is called.",
    ("anomaly", "out_of_service"): "Nobody is called until somebody puts it in service again.",
    ("not_listening", "unacknowledged"): "Nobody hears this machine. See to the microphone and its cable; acknowledge.",
    ("not_listening", "acknowledged"): "Nobody hears this machine. It is over with the next window that has a score.",
}
SOUND = {  # faults of a window, as `quality` names them
    "silence": "digital silence: is the microphone connected, and not muted?",
    "stuck": "the same sound over and over: the stream is stuck",
    "clipping": "too loud: lower the gain",
    "offset": "offset: the microphone's wiring or supply",
    "gain": "every band louder or quieter alike: was the gain changed?",
    "covered": "high bands are missing: is the microphone covered?",
    "quiet": "much quieter than it was",
    "unlike": "unlike any normal sound of this machine",
    "network": "the network failed at it",
    "not finite": "samples that are no number",
}
DEAF = "Nobody hears this machine. See to the microphone and its cable; the health page says what is wrong."
UNKNOWN = "What is shown is what was."


class Verdict(msgspec.Struct, frozen=True):
    """Of one machine."""

    look: Look
    word: str
    todo: str


def of(heard: Heard | None, kept: Sequence[Kept], fresh: bool) -> Verdict:
    """From the last sign of life and the machine's two alarms. `fresh`: that is so now."""
    anomaly = next((one for one in kept if one.kind == "anomaly"), None)
    if not fresh or heard is None:
        was = f", was: {word_of(anomaly).lower()}" if anomaly and anomaly.state != "normal" else ""
        return Verdict("unknown", f"Not known{was}", UNKNOWN)
    deaf = not heard.listening or any(one.kind == "not_listening" and one.level != "normal" for one in kept)
    if anomaly is None or anomaly.state == "normal":
        return _calm(heard, deaf)
    word = word_of(anomaly) + (", and not heard now" if deaf else "")
    todo = WANTED["anomaly", anomaly.state]
    if anomaly.state in HIDDEN:
        return (
            Verdict("deaf", f"Not listening; {word_of(anomaly).lower()}", DEAF)
            if deaf
            else Verdict("hidden", word, todo)
        )
    if anomaly.level != "normal":
        return Verdict(anomaly.level, word, todo)
    return Verdict("attention", word, todo)


def _calm(heard: Heard, deaf: bool) -> Verdict:
    if not deaf:
        return Verdict("normal", "Normal", "")
    if heard.scored + heard.unfit + heard.lost == 0:
        return Verdict("deaf", "Not heard yet", "The first score comes with the first whole window.")
    return Verdict("deaf", "Not listening", DEAF)


def word_of(kept: Kept) -> str:
    """An alarm, shortly."""
    what = "Not listening" if kept.kind == "not_listening" else "Warning" if kept.level == "warning" else "Alarm"
    words: dict[State, str] = {
        "normal": "Normal",
        "unacknowledged": what,
        "acknowledged": f"{what}, acknowledged",
        "returned_unacknowledged": f"{what} is over, not acknowledged",
        "latched_unacknowledged": f"{what} latched, not acknowledged",
        "latched_acknowledged": f"{what} latched, acknowledged",
        "shelved": "Shelved" if kept.kind == "anomaly" else "Not listening: shelved",
        "out_of_service": "Out of service" if kept.kind == "anomaly" else "Not listening: out of service",
    }
    return words[kept.state]
