"""What report.json holds."""

import msgspec

from edge_runtime.bundle import Accuracy
from export.budgets import Budget
from export.compare import Comparison

FORMAT = 1
WAIT, HELD, REST = "block wait", "held in the resampler", "the rest"
AFTER, TOTAL = "block to decision", "microphone to decision"
STAGES = (
    *(WAIT, HELD, "resample", "features", "quality", "copy in", "engine", "copy out", "score", "alarm"),
    *(REST, AFTER, TOTAL),
)


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Decoded strictly."""


class Stage(Struct, frozen=True):
    """Milliseconds from the last sound of a window to its decision that go into one stage."""

    name: str
    p50: float
    p95: float
    p99: float
    max: float
    derived: bool = False  # from the size of a block, not measured


class Load(Struct, frozen=True):
    """So many machines on the channels of one microphone, their windows scored in one batch."""

    machines: int
    windows: int  # of all machines, after warm-up
    stages: list[Stage]  # the two sums last: from the last block, from the microphone
    work_ms: dict[str, float]  # of each stage: milliseconds a window in all, most of it before its last block arrives
    real_time_factor: float  # seconds of work for a second of sound, of all machines together
    cpu_share: float  # of the time of that work, on the CPU: less than 1 where other processes or a GPU took the rest

    def stage(self, name: str) -> Stage:
        """By name."""
        return next(stage for stage in self.stages if stage.name == name)


class Spread(Struct, frozen=True):
    """The median of some runs, between the least and the greatest."""

    value: float
    low: float
    high: float


class Process(Struct, frozen=True):
    """The listening process on a WAV file, as fast as it can."""

    sound_s: float
    runs: int
    first_ms: Spread  # process start to first score, imports included
    real_time_factor: Spread  # seconds after the first window for each second of sound after it
    cpu_s_per_s: Spread  # CPU seconds of all threads, likewise
    memory_mib: Spread  # resident, at its peak


class Device(Struct, frozen=True):
    """What it was measured on; empty: not available here."""

    board: str
    cpu: str
    cores: int
    architecture: str
    system: str  # L4T where there is one, else the kernel
    power_mode: str
    python: str
    packages: dict[str, str]
    gpu: str = ""  # that the engine was built for


class Board(Struct, frozen=True):
    """What the board's own sensors said while it listened; empty: not available here."""

    watts: dict[str, float]  # rail -> mean
    joules: dict[str, float]  # rail -> a window, of all that the rail feeds
    celsius: dict[str, float]  # zone -> highest
    megahertz: dict[str, tuple[float, float]]  # clock -> lowest and highest
    throttled: list[str]  # what fell or rose; nothing: the figures may be compared
    load: float | None  # of the system over the last minute, before it began: what else was running


class Report(Struct, frozen=True):
    """Everything that was measured."""

    format: int
    version: str  # of auscult
    commit: str
    created: str  # UTC, ISO 8601
    command: str
    bundle: str
    network: str  # SHA-256 of what ran; "" without a network
    backend: str
    form: str  # "model.cpu.onnx", or the precision of an engine; "" without a network
    name: str
    system: str
    parameters: int
    macs: int
    window_s: float
    hop_s: float
    block_ms: float
    microphone_hz: int
    device: Device
    board: Board
    loads: list[Load]
    process: Process | None
    told: dict[str, Accuracy]  # machine -> what the manifest says
    data: str  # what was compared on; "" for nothing
    accuracy: Comparison | None
    budgets: list[Budget]
