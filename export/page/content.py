"""What a report says, as data: give these to `export.listening_report.write_report`."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from calib.bootstrap import Interval
from edge_runtime.features import LogMel

Estimate = Interval | float  # a figure, with its 95 % interval where one was computed
Spans = list[tuple[float, float]]  # (start, end) in seconds of sound


class Facts(msgspec.Struct, frozen=True):
    """Where the figures come from; what is empty is left out of the page."""

    data: str = ""  # data set
    machines: int = 0
    model: str = ""  # its name and system
    parameters: int | None = None
    macs: int | None = None  # multiply-accumulates a window; 1 is 2 FLOPs
    window_s: float | None = None
    hop_s: float | None = None
    created: str = ""  # UTC, ISO 8601
    commit: str = ""
    versions: dict[str, str] = {}  # package -> version
    command: str = ""  # what to type to make this page again


class Method(msgspec.Struct, frozen=True):
    """One detector on the test clips of one machine: AUC and pAUC, ratios between 0 and 1."""

    name: str  # "no network", "network, FP32", "network, INT8", "loudness alone"
    auc: Estimate
    pauc: Estimate


class Row(msgspec.Struct, frozen=True):
    """One machine in the table; None: not measured."""

    machine: str
    methods: list[Method]  # in the order of the table
    train_clips: int | None = None
    test_normal: int | None = None
    test_anomaly: int | None = None
    gain: Estimate | None = None  # AUC of the network less that of the detector without one, paired
    gain_pauc: Estimate | None = None  # the same for pAUC
    int8_change: Estimate | None = None  # AUC of INT8 less that of FP32
    spearman: float | None = None  # rank correlation of the FP32 and INT8 scores
    listened: bool = False  # whether there was a stream with a known fault: the next two then hold
    seconds_to_alarm: float | None = None  # None: no alarm came
    false_alarms: int | None = None  # before the fault


class Spectrogram(msgspec.Struct, frozen=True):
    """Log-mel of a stream; frames in the order of time, with holes where there was no sound."""

    levels: NDArray[np.floating[Any]]  # [frames, n_mels] dB re full scale
    times: NDArray[np.floating[Any]]  # [frames] seconds of sound, middle of each frame
    hz: NDArray[np.floating[Any]]  # [n_mels] centre of each band


class Listening(msgspec.Struct, frozen=True):
    """One run of the listening process over a stream."""

    machine: str
    threshold: float
    promise: str  # what the threshold promises, in words
    events: list[dict[str, Any]]  # the lines of its event file
    fault_at_s: float | Spans | None = None  # when the fault begins, or spans of anomalous sound; None: not known
    audio: NDArray[np.float32] | Spectrogram | None = None  # [samples] from second 0 on
    seconds_to_alarm: float | None = None  # from the fault to the alarm; None: no alarm came
    false_alarms: int | None = None  # alarms before the fault; None: not known
    spec: LogMel = LogMel()  # how a spectrogram of `audio` is made


class Page(msgspec.Struct, frozen=True):
    """The whole page."""

    title: str
    facts: Facts = Facts()
    table: list[Row] = []
    listening: list[Listening] = []
