"""Power, temperature, clocks and power mode, read from sysfs. What is not there is left out, never 0.

`root` is where / is: tests give a small tree of files.
"""

import os
import platform
import re
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from export.latency.content import Board, Device

PERIOD_S = 0.5  # between readings
PACKAGES = ("numpy", "onnxruntime", "soxr", "tensorrt", "tensorrt_rtx")
WHOLE = ("VDD_IN", "POM_5V_IN", "VIN")  # rails that feed all others, by the boards' names for them
EVENTS = {  # counters that rise when clocks are held back
    "sys/class/hwmon": "hwmon*/oc*_event_cnt",  # Jetson: over-current
    "sys/devices/system/cpu": "cpu[0-9]*/thermal_throttle/*_throttle_count",  # x86
}


class Reading(NamedTuple):
    """One moment."""

    watts: dict[str, float]
    celsius: dict[str, float]
    megahertz: dict[str, float]
    limits: dict[str, float]  # the highest clock allowed, MHz
    events: dict[str, int]  # counters, and states of cooling devices: more is slower


def read(root: Path) -> Reading:
    """Everything that is there now."""
    clocks, limits = {}, {}
    for cpu in _found(root / "sys/devices/system/cpu", "cpu[0-9]*/cpufreq"):
        clocks[cpu.parent.name] = _number(cpu / "scaling_cur_freq", 1e-3)
        limits[cpu.parent.name] = _number(cpu / "scaling_max_freq", 1e-3)
    for gpu in _found(root / "sys/class/devfreq", "*gpu*"):
        clocks["GPU"] = _number(gpu / "cur_freq", 1e-6)
        limits["GPU"] = _number(gpu / "max_freq", 1e-6)
    zones = _found(root / "sys/class/thermal", "thermal_zone*")
    heat = {(_text(zone / "type") or zone.name): _number(zone / "temp", 1e-3) for zone in zones}
    return Reading(dict(_rails(root)), _known(heat), _known(clocks), _known(limits), dict(_events(root)))


def _rails(root: Path) -> Iterator[tuple[str, float]]:
    """Watts of every rail of the ina3221 power monitors."""
    for label in _found(root / "sys/class/hwmon", "hwmon*/in*_label"):
        number = label.name.removeprefix("in").removesuffix("_label")
        volts = _number(label.with_name(f"in{number}_input"), 1e-3)
        amperes = _number(label.with_name(f"curr{number}_input"), 1e-3)
        if _text(label.with_name("name")) == "ina3221" and volts is not None and amperes is not None:
            yield _text(label) or label.name, volts * amperes


def _events(root: Path) -> Iterator[tuple[str, int]]:
    for folder, pattern in EVENTS.items():
        for file in _found(root / folder, pattern):
            if (count := _number(file)) is not None:
                yield f"{file.parent.name}/{file.name}", int(count)
    for device in _found(root / "sys/class/thermal", "cooling_device*"):
        kind, state = _text(device / "type"), _number(device / "cur_state")
        if state is not None and kind and "fan" not in kind:
            yield f"{kind} ({device.name})", int(state)


class Watch:
    """Reads the sensors while something runs: `with Watch(root) as watch: ...`, then `watch.board(windows)`."""

    def __init__(self, root: Path = Path("/"), period_s: float = PERIOD_S) -> None:
        self._root, self._period_s = root, period_s
        self._readings: list[Reading] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="board", daemon=True)
        self._load = _load()
        self._began = self._seconds = 0.0

    def __enter__(self) -> "Watch":
        self._readings.append(read(self._root))
        self._began = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._seconds = time.perf_counter() - self._began
        self._over.set()
        self._thread.join()
        self._readings.append(read(self._root))

    def _watch(self) -> None:
        while not self._over.wait(self._period_s):
            self._readings.append(read(self._root))

    def board(self, windows: int) -> Board:
        """What was read, and the energy of each of so many windows."""
        watts = {name: statistics.fmean(values) for name, values in self._series("watts").items()}
        clocks = self._series("megahertz")
        return Board(
            watts=watts,
            joules={name: value * self._seconds / windows for name, value in watts.items()},
            celsius={name: max(values) for name, values in self._series("celsius").items()},
            megahertz={name: (min(values), max(values)) for name, values in clocks.items()},
            throttled=[*self._fell(), *self._rose()],
            load=self._load,
        )

    def _fell(self) -> Iterator[str]:
        for name, values in self._series("limits").items():
            if min(values) < values[0]:
                yield f"the highest clock of {name} fell from {values[0]:.0f} to {min(values):.0f} MHz"

    def _rose(self) -> Iterator[str]:
        for name, values in self._series("events").items():
            if max(values) > values[0]:
                yield f"{name} rose from {values[0]:.0f} to {max(values):.0f}"

    def _series(self, what: str) -> dict[str, list[float]]:
        found: dict[str, list[float]] = defaultdict(list)
        for reading in self._readings:
            for name, value in getattr(reading, what).items():
                found[name].append(value)
        return found


def whole(watts: dict[str, float]) -> str | None:
    """The rail that feeds all others, where there is one."""
    return next((name for name in WHOLE if name in watts), None)


def device(root: Path = Path("/")) -> Device:
    """What this is."""
    release = (_text(root / "etc/nv_tegra_release") or "").partition(", GCID")[0].lstrip("# ")
    return Device(
        board=(_text(root / "proc/device-tree/model") or "").rstrip("\0"),
        cpu=_cpu(root),
        cores=os.cpu_count() or 0,
        architecture=platform.machine(),
        system=f"L4T {release}" if release else f"{platform.system()} {platform.release()}",
        power_mode=power_mode(root),
        python=platform.python_version(),
        packages=dict(_packages()),
    )


def power_mode(root: Path) -> str:
    """Jetson's, by the number that nvpmodel wrote and its name in the table of modes."""
    found = re.search(r"pmode:0*(\d+)", _text(root / "var/lib/nvpmodel/status") or "")
    if not found:
        return ""
    table = _text(root / "etc/nvpmodel.conf") or ""
    name = re.search(rf"POWER_MODEL\s+ID={found[1]}\s+NAME=(\S+)", table)
    return f"{found[1]}, {name[1]}" if name else found[1]


def _cpu(root: Path) -> str:
    text = _text(root / "proc/cpuinfo") or ""
    found = re.search(r"^(?:model name|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def _packages() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _load() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def _found(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern))


def _text(file: Path) -> str | None:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return None


def _number(file: Path, unit: float = 1.0) -> float | None:
    try:
        return float(_text(file) or "nothing") * unit
    except ValueError:
        return None


def _known(values: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}
