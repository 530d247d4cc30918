"""A training that is killed, at any moment, goes on as if nothing had happened."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge_runtime.errors import ConfigError
from tests.conftest import ROOT
from tests.train.conftest import CONFIGS, QUICK, train
from tests.train.processes import Classes, fit
from tests.train.test_parallel import TORCHRUN, environment
from tests.train.test_train import PowerCutError, losses, same
from train import checkpoint, loop, run_folder

EVERY_STEP = ["--epochs", "3", "--set", "training.batch=4", "--set", "training.save_minutes=0.0"]


def progress(folder: Path) -> dict[str, Any]:
    """How far a run has come; nothing before its first checkpoint."""
    file = folder / checkpoint.CHECKPOINT
    found: dict[str, Any] = torch.load(file, weights_only=True)["progress"] if file.exists() else {}
    return found


def written(folder: Path) -> int:
    """When the last checkpoint was, ns."""
    file = folder / checkpoint.CHECKPOINT
    return file.stat().st_mtime_ns if file.exists() else 0


@pytest.fixture(scope="module")
def unbroken(recordings, tmp_path_factory) -> Path:
    """Three epochs of four steps."""
    return train(tmp_path_factory.mktemp("unbroken") / "run", recordings, *EVERY_STEP)


def killed(part: Path, recordings: Path, after: float) -> bool:
    """Train in a process of its own, which gets SIGKILL some seconds after a step; False: it was done before."""
    words = [part, recordings, *EVERY_STEP, *(["--resume"] if run_folder.begun(part) else [])]
    process = multiprocessing.get_context("fork").Process(target=train, args=words)
    before = written(part)
    process.start()
    while process.is_alive() and written(part) == before:
        time.sleep(0.005)
    process.join(after)
    alive = process.is_alive()
    if alive:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    return alive


def test_a_run_that_is_killed_again_and_again_equals_an_unbroken_one(unbroken, recordings, tmp_path):
    part, rng, cuts = tmp_path / "part", np.random.default_rng(), []
    while len(cuts) < 5 and killed(part, recordings, rng.uniform(0.0, 0.15)):
        cuts.append((progress(part)["epoch"], progress(part)["step"]))
    assert any(step for _, step in cuts) and cuts == sorted(set(cuts)), "in mid-epoch, and each one further"
    train(part, recordings, *EVERY_STEP, "--resume")
    assert losses(part) == losses(unbroken) and same(part, unbroken) and run_folder.finished(part)


def test_a_cut_between_checkpoint_and_table_neither_repeats_nor_loses_an_epoch(unbroken, recordings, tmp_path):
    part, write = tmp_path / "part", checkpoint.write_table

    def cut(folder: Path, done: checkpoint.Progress) -> None:
        if done.epoch == 2:
            raise PowerCutError
        write(folder, done)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(PowerCutError):
        patch.setattr(checkpoint, "write_table", cut)
        train(part, recordings, *EVERY_STEP)
    assert len(losses(part)) == 1 and progress(part)["epoch"] == 2
    train(part, recordings, *EVERY_STEP, "--resume")
    assert losses(part) == losses(unbroken) and same(part, unbroken)


def test_a_run_of_another_number_of_workers_goes_on_from_the_middle_of_an_epoch(unbroken, recordings, tmp_path):
    part = tmp_path / "part"
    while killed(part, recordings, 0.0) and not progress(part)["step"]:
        pass
    train(
        part, recordings, *EVERY_STEP, "--resume", "--set", "training.workers=2", "--set", "training.save_minutes=9.0"
    )
    assert losses(part) == losses(unbroken) and same(part, unbroken)


def test_an_epoch_begins_for_the_objective_also_when_only_its_rest_is_trained(recordings, tmp_path):
    class Cut(Classes):
        """The power goes in the second step of the second epoch."""

        def steps(self, network: Any, batch: Any) -> Any:
            if self.began == [0, 1] and progress(tmp_path)["step"] == 1:
                raise PowerCutError
            return super().steps(network, batch)

    settings: dict[str, Any] = {"epochs": 3, "batch": 4, "save_minutes": 0.0}
    with pytest.raises(PowerCutError):
        fit(recordings, tmp_path, Cut(freezes=True), **settings)
    rest = Classes(freezes=True)
    weights = fit(recordings, tmp_path, rest, **settings)
    assert rest.began == [1, 2]
    whole = fit(recordings, tmp_path / "whole", Classes(freezes=True), **settings)
    assert all(torch.equal(array, weights[name]) for name, array in whole.items())


def test_checkpoints_within_an_epoch_wait_for_their_minutes(recordings, tmp_path, monkeypatch):
    saved: list[tuple[int, int]] = []
    save = loop.Loop.save
    monkeypatch.setattr(loop.Loop, "save", lambda it: (saved.append((it.progress.epoch, it.progress.step)), save(it)))
    fit(recordings, tmp_path / "never", Classes(), epochs=2, batch=4)
    assert saved == [(1, 0), (2, 0), (2, 0)]  # the last one after the last pass
    saved.clear()
    fit(recordings, tmp_path / "always", Classes(), epochs=1, batch=4, save_minutes=0.0)
    assert saved == [(0, 1), (0, 2), (0, 3), (1, 0), (1, 0)]


def test_a_checkpoint_of_another_version_does_not_go_on(recordings, tmp_path):
    fit(recordings, tmp_path, Classes(), epochs=1, batch=8)
    file = tmp_path / checkpoint.CHECKPOINT
    state = torch.load(file, weights_only=True)
    torch.save({**state, "progress": {"epochs": 1}}, file)
    with pytest.raises(ConfigError, match="a checkpoint of another version, which cannot go on; train it again"):
        fit(recordings, tmp_path, Classes(), epochs=2, batch=8)


def several(part: Path, recordings: Path, *more: str) -> subprocess.Popen[str]:
    file = CONFIGS[0].with_name("featex.yaml")
    words = [str(file), "--data", str(recordings), "--out", str(part), *QUICK, *EVERY_STEP, *more]
    command = [*TORCHRUN, "train/run.py", *words]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def kill_all(process: "subprocess.Popen[str]") -> None:
    """torchrun and the processes that it has started, at once and without a word."""
    started = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    pids = [process.pid, *map(int, started.read_text().split())]
    assert len(pids) >= 3
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are found in /proc")
def test_two_processes_that_are_killed_in_mid_epoch_go_on_as_if_nothing_had_happened(recordings, tmp_path):
    part = tmp_path / "part"
    process = several(part, recordings)
    while process.poll() is None and not written(part):
        time.sleep(0.005)
    kill_all(process)
    found = progress(part)
    assert found["step"] > 0 or found["epoch"] > 0
    said = several(part, recordings, "--resume").communicate(timeout=600)
    assert run_folder.finished(part), said[1]
    whole = tmp_path / "whole"
    several(whole, recordings).communicate(timeout=600)
    assert losses(part) == losses(whole) and same(part, whole)
