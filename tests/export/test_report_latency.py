"""Where the time goes between microphone and decision: the stages of the parts that listen, and the process."""

import time

import numpy as np
import pytest

from edge_runtime import bundle
from edge_runtime.backends import Pooled, open_backend
from edge_runtime.detector import Detector, Ear
from edge_runtime.errors import BackendError
from export.latency import pipeline, process
from export.latency.content import AFTER, HELD, REST, TOTAL, WAIT
from tests.conftest import hum

ENGINE_S, COPY_S = 0.004, 0.001  # seconds


class Slow:
    """An engine that takes its time and says where it went."""

    def __init__(self, model):
        self._own, self.seconds = Pooled(model), {}

    def run(self, inputs):
        time.sleep(ENGINE_S + 2 * COPY_S)
        self.seconds = {"copy in": COPY_S, "engine": ENGINE_S, "copy out": COPY_S}
        return self._own.run(inputs)

    def close(self):
        pass


@pytest.fixture
def opened(packed):
    return bundle.open_bundle(packed)


def measured(opened, machines=1, windows=20, rate=48_000, backend=None):
    model, machine = opened.model, opened.machine("fan_section_00")
    return pipeline.measure(model, machine, backend or open_backend(None, model), machines, windows, rate)


def test_every_stage_is_measured_and_they_add_up(opened):
    load = measured(opened, windows=1)  # of one window every percentile is its own figure
    stages = {stage.name: stage for stage in load.stages}
    assert load.windows == 1
    names = [WAIT, HELD, "resample", "features", "quality", "engine", "score", "alarm", REST, AFTER, TOTAL]
    assert list(stages) == names
    own = sum(stages[name].p50 for name in names[2:-2])
    assert own == pytest.approx(stages[AFTER].p50, rel=1e-6)
    assert all(stages[name].p50 > 0.0 for name in names)
    waits = stages[WAIT].max + stages[HELD].p50  # ms
    assert stages[TOTAL].max == pytest.approx(waits + stages[AFTER].p50, abs=0.1)


def test_the_wait_for_a_block_is_derived_from_its_size(opened):
    (wait,) = [stage for stage in measured(opened).stages if stage.derived]
    assert (wait.name, wait.max) == (WAIT, 32.0)  # ms
    assert wait.p50 == pytest.approx(16.0) and wait.p95 == pytest.approx(30.4, abs=0.1)


def test_sound_at_the_models_rate_is_not_held_back(opened):
    assert HELD not in {stage.name for stage in measured(opened, rate=16_000).stages}
    held = measured(opened).stage(HELD)
    assert 0.0 < held.p50 <= held.max < 100.0  # ms: the resampler's filter, in whole blocks


def test_work_is_counted_from_the_first_block_of_a_hop_on(opened):
    load = measured(opened)
    assert load.work_ms["features"] > 1.5 * load.stage("features").p50  # 8 frames, of which 1 or 2 come last
    assert 0.0 < load.real_time_factor < 1.0


def test_a_backend_says_what_it_copies(opened):
    load = measured(opened, windows=5, backend=Slow(opened.model))
    assert load.stage("copy in").p50 == load.stage("copy out").p50 == pytest.approx(1e3 * COPY_S)
    assert load.stage("engine").p50 >= 1e3 * ENGINE_S
    assert load.stage(AFTER).p50 >= 1e3 * (ENGINE_S + 2 * COPY_S)
    assert load.cpu_share < 0.9  # it slept: a GPU, or another process, had that time


def test_machines_of_one_microphone_are_scored_in_one_batch(opened):
    load, run_ms = measured(opened, 4, 20, backend=Slow(opened.model)), 1e3 * (ENGINE_S + 2 * COPY_S)
    assert (load.machines, load.windows) == (4, 20)
    assert run_ms <= load.stage(AFTER).p50 < 2 * run_ms  # one run for all of them, not four
    assert load.work_ms["engine"] < 0.5 * 1e3 * ENGINE_S  # of each window: a fourth


def test_measuring_does_not_change_a_score(opened):
    model, machine, sound = opened.model, opened.machine("fan_section_00"), hum(3.0)[:, np.newaxis]
    plain = Detector(model, open_backend(None, model), [Ear(machine)])
    timed = Detector(model, open_backend(None, model), [Ear(machine)], pipeline.Clock())
    blocks = np.array_split(sound, 50)
    found, again = [[w.score for block in blocks for (w,) in one.push(block)] for one in (plain, timed)]
    assert found == again and None not in found


def test_a_fresh_process_is_measured_from_outside(opened, monkeypatch):
    monkeypatch.setattr(process, "HOPS", 12)
    ballast = np.ones(60_000_000, np.float32)  # 240 MB that are this process's own and must not be counted as its
    found = process.measure(opened, "pump_section_00", "onnxruntime", runs=1)
    del ballast
    assert found.sound_s == pytest.approx((opened.model.window + 12 * opened.model.hop) / 16_000)
    assert 20.0 < found.memory_mib.value < 150.0
    assert 20.0 < found.first_ms.value < 20_000.0 and found.real_time_factor.value > 0.0
    assert found.cpu_s_per_s.value >= 0.0


def test_a_process_that_fails_says_why(opened):
    with pytest.raises(BackendError, match=r"exit code 2: error: .*unknown machine valve"):
        process.measure(opened, "valve", "onnxruntime", runs=1)
