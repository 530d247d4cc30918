"""Scores of test clips -> what is raised at the threshold by normal sound: windows, clips, alarms a day."""

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from calib.bootstrap import Interval
from calib.collect import Collected, mean_per_clip
from edge_runtime.alarm import Alarm, AlarmSettings
from edge_runtime.bundle import Model
from edge_runtime.features import Doubles
from edge_runtime.scoring import Machine, score
from export.figures import Rate, Share, rate, share

BUNDLE, OWN = "the bundle's", "its own"  # references and threshold that a score comes from


class Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One form of the network, or the detector without one, on the test clips of one machine or of all."""

    references: str  # "the bundle's": fitted with what listens on the CPU; "its own": fitted with this form
    auc: Interval
    pauc: Interval
    spearman: float | None  # of the clips' scores with those of FP32, its own references; None: there is no FP32
    spearman_same: float | None  # with those of FP32 and the same references: what the form alone changes
    false_windows: Share  # normal windows above the threshold
    false_clips: Share  # normal clips above it
    false_alarms: Rate  # through the alarm's delays, normal clips one after another


@dataclass(frozen=True)
class Scored:
    """The test clips of one machine, scored by one form."""

    clips: Doubles  # [clips] mean over a clip's windows
    above: list[list[bool | None]]  # decision of each window of each normal clip; None: no score, it is silence
    false_clips: int

    @classmethod
    def by(cls, heard: Collected, machine: Machine) -> "Scored":
        """Test clips of one machine -> their scores and decisions."""
        windows = score(heard.outputs, machine)
        clips = mean_per_clip(windows, heard.clip, len(heard.clips))
        above = windows > machine.threshold
        normal = [i for i, clip in enumerate(heard.clips) if clip.label == "normal"]
        decided = [_decisions(above, heard.fit, heard.clip == i) for i in normal]
        return cls(clips, decided, int(np.sum(clips[normal] > machine.threshold)))

    def false_windows(self) -> tuple[int, int]:
        """(above the threshold, all that were decided)."""
        decided = [decision for clip in self.above for decision in clip if decision is not None]
        return sum(decided), len(decided)


def _decisions(above: NDArray[np.bool_], fit: NDArray[np.bool_], own: NDArray[np.bool_]) -> list[bool | None]:
    return [bool(decision) if scored else None for decision, scored in zip(above[own], fit[own], strict=True)]


def alarms(scored: Scored, model: Model) -> tuple[int, float]:
    """(alarms, hours of sound): normal clips one after another, each a recording, as `edge_runtime run` hears files."""
    alarm, at, count = Alarm(AlarmSettings(), model.sample_rate), 0, 0
    for clip in scored.above:
        alarm.update(at, None)
        for number, decision in enumerate(clip):
            change = alarm.update(at + model.window + number * model.hop, decision)
            count += change is not None and change.state == "alarm"
        at += model.window + (len(clip) - 1) * model.hop
    return count, at / model.sample_rate / 3600


def false_alarms(machines: list[Scored], model: Model) -> tuple[Share, Share, Rate]:
    """Of one machine, or of several taken together: windows, clips, alarms a day."""
    windows, clips = [one.false_windows() for one in machines], sum(len(one.above) for one in machines)
    heard = [alarms(one, model) for one in machines]
    return (
        share(sum(above for above, _ in windows), sum(of for _, of in windows), clips),
        share(sum(one.false_clips for one in machines), clips, clips),
        rate(sum(count for count, _ in heard), sum(hours for _, hours in heard)),
    )
