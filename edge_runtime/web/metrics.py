"""For Prometheus, in base units. What is not so now is absent, never an old number: a missing score is no low one."""

from collections.abc import Iterator
from typing import Any, get_args

from edge_runtime import utc
from edge_runtime.alarm.words import State
from edge_runtime.errors import ConfigError
from edge_runtime.journal import Beat, Heard, Latency, Sign, Visitor
from edge_runtime.journal.standing import standing
from edge_runtime.listening.signs import VERSION
from edge_runtime.web.exchange import Answer, Asked
from edge_runtime.web.health import Disk, disk
from edge_runtime.web.place import Place

HOPS, LATE_S = 5, 5.0  # hops and seconds that the last window may be old
HOP_S = 1.0  # seconds between two windows, where the journal does not say


def metrics(place: Place, asked: Asked) -> Answer:
    """GET /metrics."""
    import prometheus_client

    registry = prometheus_client.CollectorRegistry(auto_describe=False)
    registry.register(_Collector(place))
    return Answer(prometheus_client.generate_latest(registry), kind=prometheus_client.CONTENT_TYPE_LATEST)


class _Collector:
    """Looks once."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def collect(self) -> Iterator[Any]:
        from prometheus_client import core

        page = core.GaugeMetricFamily("auscult_build_info", "Version of the page.", labels=["version"])
        page.add_metric([VERSION], 1)
        yield page
        try:
            with self._place.visiting() as visitor:
                sign = visitor.sign()
                read = [_up(sign.fresh), *_kept(visitor, sign), *_disk(disk(self._place, visitor))]
                if sign.beat is not None and sign.fresh:
                    read += _now(sign.beat, {one.machine: one.hop_s for one in visitor.machines()})
        except ConfigError:  # nothing that was read before is told: no figure twice
            read = [_up(False), *_disk(disk(self._place, None))]
        yield from read


def _up(fresh: bool) -> Any:
    return _gauge("listener_up", "1 if a process listens and says so now, else 0.", float(fresh))


def _now(beat: Beat, hops_s: dict[str, float]) -> Iterator[Any]:
    """What is so now. `hops_s`: seconds between two windows of each machine."""
    yield from _machines(beat.machines)
    yield from _windows([one for one in beat.machines if _is_heard(one, beat, hops_s.get(one.machine, HOP_S))])
    yield from _microphones(beat)
    yield _backend(beat)
    if beat.latency:
        yield _latency(beat.latency)


def _is_heard(one: Heard, beat: Beat, hop_s: float) -> bool:
    """Whether its last window is of now, and not of before its sound stopped."""
    return bool(one.listening and one.time) and utc.seconds(beat.time) - utc.seconds(one.time) <= HOPS * hop_s + LATE_S


def _kept(visitor: Visitor, sign: Sign) -> Iterator[Any]:
    """What is true whoever listens: alarms that nobody has ended, and when a score was last had."""
    from prometheus_client import core

    beat = sign.beat
    heard = {one.machine: one for one in beat.machines} if beat else {}
    labels = ["machine", "kind", "state"]
    states = core.GaugeMetricFamily(
        "auscult_alarm_state", "1 for the state that an alarm is in, else 0.", labels=labels
    )
    for kept in standing(visitor, sign):
        for state in get_args(State):
            states.add_metric([kept.machine, kept.kind, state], float(state == kept.state))
    yield states
    valid = {one.machine: one.valid_s for one in heard.values() if one.valid_s is not None}
    words = "When a window last had a score, in seconds since 1970."
    yield _by_machine("last_valid_window_timestamp_seconds", words, valid)
    if beat is not None:
        since = core.GaugeMetricFamily("auscult_last_sign_timestamp_seconds", "Last sign of life, seconds since 1970.")
        since.add_metric([], utc.seconds(beat.time))
        yield since


def _machines(machines: list[Heard]) -> Iterator[Any]:
    from prometheus_client import core

    yield _by_machine(
        "threshold", "Score above which a window is anomalous.", {one.machine: one.threshold for one in machines}
    )
    words = "1 if the machine is listened to, else 0."
    yield _by_machine("listening", words, {one.machine: float(one.listening) for one in machines})
    labels = ["machine", "quality"]
    windows = core.CounterMetricFamily(
        "auscult_windows", "Windows since the listener began, by quality.", labels=labels
    )
    for one in machines:
        for quality in ("scored", "unfit", "lost"):
            windows.add_metric([one.machine, quality], getattr(one, quality))
    yield windows


def _windows(heard: list[Heard]) -> Iterator[Any]:
    """The last window of each machine that is heard now."""
    words = "Score of the last window; absent without one."
    yield _by_machine("anomaly_score", words, {one.machine: one.score for one in heard if one.score is not None})
    levels = {one.machine: one.level_dbfs for one in heard if one.level_dbfs is not None}
    yield _by_machine("mic_level_dbfs", "Level of the last window, dB re full scale; absent when silent.", levels)
    clipped = {one.machine: one.clipped for one in heard}
    yield _by_machine("clipped_samples_ratio", "Share of the last window's samples at full scale.", clipped)


def _microphones(beat: Beat) -> Iterator[Any]:
    from prometheus_client import core

    gaps = core.CounterMetricFamily(
        "auscult_capture_gap_seconds", "Seconds of sound that were lost.", labels=["microphone"]
    )
    heard = core.GaugeMetricFamily(
        "auscult_microphone_heard", "1 if the microphone gives sound, else 0.", labels=["microphone"]
    )
    drift = core.GaugeMetricFamily(
        "auscult_microphone_drift_ratio", "How much faster its clock runs than this computer's.", labels=["microphone"]
    )
    for one in beat.microphones:
        gaps.add_metric([one.name], one.lost_s)
        heard.add_metric([one.name], float(one.listening))
        if one.drift_ppm is not None:
            drift.add_metric([one.name], round(one.drift_ppm * 1e-6, 10))
    yield from (gaps, heard, drift)


def _latency(latency: Latency) -> Any:
    from prometheus_client import core

    words = "From the block that completed a window to what was decided of it."
    family = core.HistogramMetricFamily("auscult_window_latency_seconds", words)
    bounds = [*map(str, latency.bounds_s), "+Inf"]
    below, buckets = 0, []
    for bound, count in zip(bounds, latency.counts, strict=True):
        below += count
        buckets.append((bound, below))
    family.add_metric([], buckets, latency.sum_s)
    return family


def _backend(beat: Beat) -> Any:
    from prometheus_client import core

    labels = ["version", "backend"]
    family = core.GaugeMetricFamily("auscult_listener_info", "The process that listens.", labels=labels)
    family.add_metric([beat.version, beat.backend], 1)
    return family


def _disk(found: Disk | None) -> Iterator[Any]:
    if found is None:
        return
    yield _gauge("state_disk_free_bytes", "Bytes that are free where the state folder lies.", found.free_bytes)
    yield _gauge("state_disk_size_bytes", "Bytes of that disk.", found.total_bytes)
    yield _gauge("journal_size_bytes", "Bytes of the journal.", found.journal_bytes)
    yield _gauge("events", "Event folders.", found.events)
    yield _gauge("events_size_bytes", "Bytes of all event folders.", found.events_bytes)
    if found.budget_bytes is not None:
        yield _gauge("events_budget_bytes", "Bytes that event folders may take.", found.budget_bytes)


def _gauge(name: str, words: str, value: float) -> Any:
    from prometheus_client import core

    return core.GaugeMetricFamily(f"auscult_{name}", words, value)


def _by_machine(name: str, words: str, values: dict[str, Any]) -> Any:
    from prometheus_client import core

    family = core.GaugeMetricFamily(f"auscult_{name}", words, labels=["machine"])
    for machine, value in values.items():
        family.add_metric([machine], value)
    return family
