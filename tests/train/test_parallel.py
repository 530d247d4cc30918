"""Two processes of torchrun, on the CPU, train what one does."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from tests.conftest import ROOT
from tests.train.conftest import CONFIGS, QUICK, error
from tests.train.processes import FROZEN, Classes, fit
from train import checkpoint, run, run_folder

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SGD = ["--epochs", "2", "--set", "training.optimiser=sgd", "--set"]
OEVAE = [
    word
    for change in ("segment_frames=16", "classifier=false", "smote=0.0", "scoring={kind: network, of: latent}")
    for word in ("--set", change)
]
SYSTEMS = {
    "featex": [*SGD, "training.learning_rate=0.02"],
    "tfap": [*SGD, "training.learning_rate=0.02", "--set", "mixup=none", "--set", "crop_frames=20"],
    "autoencoder": [*SGD, "training.learning_rate=0.0005", "--set", "stacks=40", "--machine-type", "fan"],  # in 3 steps
    # half of a batch is of another kind; what its autoencoder draws for each process weighs a ten-millionth
    "oevae": [*SGD, "training.learning_rate=0.002", *OEVAE, "--machine-type", "fan"],
}
# float32: sums over a batch are made of two halves, and an SGD of a few steps carries on what that changes
SAME = {"rel": 2e-4}


class Done(NamedTuple):
    """What two processes did."""

    folder: Path
    code: int
    out: str
    err: str


def words(system: str, recordings: Path, out: Path) -> list[str]:
    file = CONFIGS[0].with_name(f"{system}.yaml")
    return [str(file), "--data", str(recordings), "--out", str(out), *QUICK, *SYSTEMS[system]]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


@pytest.fixture(scope="module")
def two(recordings, tmp_path_factory) -> Done:
    """All in one start, which takes longer than what is done."""
    folder = tmp_path_factory.mktemp("two")
    plan = {
        "commands": [words(system, recordings, folder / system) for system in SYSTEMS],
        "recordings": str(recordings),
        **{name: str(folder / name) for name in ("frozen", "broken")},
    }
    (folder / "plan.json").write_text(json.dumps(plan))
    command = [*TORCHRUN, "tests/train/processes.py", str(folder / "plan.json")]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=600)
    return Done(folder, done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def one(recordings, tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("one")
    for system in SYSTEMS:
        assert run.main(words(system, recordings, folder / system)) == 0
    return folder


def losses(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open() as stream:
        return [float(row["loss"]) for row in csv.DictReader(stream)]


@pytest.mark.parametrize("system", SYSTEMS)
def test_two_processes_lose_what_one_does(one, two, system):
    """With everything that is drawn for a batch, and with batch norms."""
    found = losses(two.folder / system)
    assert len(found) == 2 and found == pytest.approx(losses(one / system), **SAME), two.err


@pytest.mark.parametrize("system", SYSTEMS)
def test_two_processes_train_the_weights_and_the_statistics_of_one(one, two, system):
    theirs = run_folder.load_run(two.folder / system).network.state_dict()
    for name, ours in run_folder.load_run(one / system).network.state_dict().items():
        # float32 as above, over weights of the order of 1 and below
        torch.testing.assert_close(theirs[name], ours, rtol=2e-3, atol=2e-3, msg=lambda said, name=name: name + said)


def test_two_processes_write_one_run_folder_and_speak_once(one, two):
    for system in SYSTEMS:
        names = [{file.name for file in (root / system).rglob("*")} for root in (one, two.folder)]
        assert names[0] == names[1]
        assert run_folder.finished(two.folder / system)
    assert len(two.out.strip().splitlines()) == len(SYSTEMS)


def test_weights_that_an_epoch_freezes_and_another_thaws_are_trained_as_in_one_process(recordings, two, tmp_path):
    ours = fit(recordings, tmp_path, Classes(freezes=True), **FROZEN)
    state = torch.load(two.folder / "frozen" / checkpoint.CHECKPOINT, weights_only=True)["state_dict"]
    for name, array in ours.items():
        torch.testing.assert_close(state[f"network.{name}"], array, rtol=1e-5, atol=1e-6)  # float32, as above


def test_a_loss_that_is_no_number_in_one_process_stops_both_with_one_line(two):
    assert two.code != 0
    said = [line for line in two.err.splitlines() if line.startswith("error: ")]
    assert len(said) == 1
    assert said[0].startswith("error: epoch 1, step 1 of 2: the loss is nan; no checkpoint yet; train with a lower")
    codes = {int(code) for code in re.findall(r"exitcode *: *(-?[0-9]+)", two.err)}
    assert 2 in codes, two.err
    # who is left behind is aborted by gloo, or ended by torchrun if it is late
    assert codes <= {2, -signal.SIGABRT, -signal.SIGTERM}, two.err
    assert not (two.folder / "broken" / checkpoint.CHECKPOINT).exists()


def test_accumulation_in_parts_takes_the_steps_of_the_whole_batch(recordings, tmp_path):
    whole, parts = (
        fit(recordings, tmp_path / str(each), Classes(), epochs=2, batch=8, learning_rate=0.5, accumulate=each)
        for each in (1, 3)
    )
    for name, array in whole.items():
        torch.testing.assert_close(parts[name], array, rtol=1e-5, atol=1e-6)  # float32: sums of three parts
    assert losses(tmp_path / "3") == pytest.approx(losses(tmp_path / "1"), rel=1e-5)


def test_a_batch_too_small_for_its_parts_is_one_line(recordings, tmp_path, capsys):
    asked = words("featex", recordings, tmp_path / "run")
    said = error(capsys, run.main, *asked, "--set", "training.accumulate=5")
    assert "1 processes x training.accumulate 5 parts: a batch has 8 clips, and a part wants two or more" in said
    assert not (tmp_path / "run").exists()
