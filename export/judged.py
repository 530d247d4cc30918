"""Scores of test clips -> what is raised at the threshold by normal sound: windows, clips, alarms a day."""

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from calib.bootstrap import Interval
from calib.collect import Collected, mean_per_clip
from edge_runtime.alarm import AlarmSettings, Condition
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
    normal: list[list[float | None]]  # score of each window of each normal clip; None: no score, it is silence
    false_clips: int
    machine: Machine

    @classmethod
    def by(cls, heard: Collected, machine: Machine) -> "Scored":
        """Test clips of one machine -> their scores and decisions."""
        windows = score(heard.outputs, machine)
        clips = mean_per_clip(windows, heard.clip, len(heard.clips))
        normal = [i for i, clip in enumerate(heard.clips) if clip.label == "normal"]
        scores = [_scores(windows, heard.fit, heard.clip == i) for i in normal]
        return cls(clips, scores, int(np.sum(clips[normal] > machine.threshold)), machine)

    def false_windows(self) -> tuple[int, int]:
        """(above the threshold, all that were decided)."""
        heard = [one for clip in self.normal for one in clip if one is not None]
        return sum(one > self.machine.threshold for one in heard), len(heard)


def _scores(windows: Doubles, fit: NDArray[np.bool_], own: NDArray[np.bool_]) -> list[float | None]:
    return [float(score) if scored else None for score, scored in zip(windows[own], fit[own], strict=True)]


def alarms(scored: Scored, model: Model) -> tuple[int, float]:
    """(alarms, hours of sound): normal clips one after another, each a recording, as `edge_runtime run` hears files."""
    condition, at, count = Condition(AlarmSettings(), scored.machine, model.sample_rate), 0, 0
    for clip in scored.normal:
        condition.update(at, None)
        for number, heard in enumerate(clip):
            before = condition.level
            count += condition.update(at + model.window + number * model.hop, heard) == "alarm" != before
        at += model.window + (len(clip) - 1) * model.hop
    return count, at / model.sample_rate / 3600


def false_alarms(machines: list[Scored], model: Model) -> tuple[Share, Share, Rate]:
    """Of one machine, or of several taken together: windows, clips, alarms a day."""
    windows, clips = [one.false_windows() for one in machines], sum(len(one.normal) for one in machines)
    heard = [alarms(one, model) for one in machines]
    return (
        share(sum(above for above, _ in windows), sum(of for _, of in windows), clips),
        share(sum(one.false_clips for one in machines), clips, clips),
        rate(sum(count for count, _ in heard), sum(hours for _, hours in heard)),
    )
