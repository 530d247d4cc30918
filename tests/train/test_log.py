"""TensorBoard's events: everything once, after a broken run too."""

import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.train.conftest import CONFIGS, QUICK, error, train
from tests.train.test_train import PowerCutError, losses
from train import checkpoint, log, loop, run

STEPS = ["--epochs", "3", "--set", "training.batch=4", "--set", "training.schedule=cosine", "--tensorboard"]


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> (step, value) as TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder / log.TENSORBOARD))
    reader.Reload()
    return {tag: [(one.step, one.value) for one in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def test_losses_and_rates_are_there_by_step_and_the_table_by_epoch(recordings, tmp_path):
    folder = train(tmp_path / "run", recordings, *STEPS)
    found = events(folder)
    assert set(found) == {"step/loss", "step/learning_rate", "epoch/loss", "epoch/seconds", "epoch/clips_per_s"}
    assert [step for step, _ in found["step/loss"]] == list(range(12))
    rates = [rate for _, rate in found["step/learning_rate"]]
    assert rates[0] == pytest.approx(1e-3, rel=1e-6) and rates == sorted(rates, reverse=True)
    assert [step for step, _ in found["epoch/loss"]] == [3, 7, 11]
    assert [loss for _, loss in found["epoch/loss"]] == pytest.approx(losses(folder), rel=1e-6)  # float32
    by_epoch = defaultdict(list)
    for step, loss in found["step/loss"]:
        by_epoch[step // 4].append(loss)
    assert [sum(own) / 4 for own in by_epoch.values()] == pytest.approx(losses(folder), rel=1e-6)


def test_nothing_is_told_twice_by_a_run_that_was_broken(recordings, tmp_path):
    folder, save = tmp_path / "run", loop.Loop.save

    def cut(going: loop.Loop) -> None:
        if (going.progress.epoch, going.progress.step) in ((2, 0), (1, 3)):
            raise PowerCutError
        save(going)

    words = [*STEPS, "--set", "training.save_minutes=0.0"]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(PowerCutError):
        patch.setattr(loop.Loop, "save", cut)
        train(folder, recordings, *words)
    train(folder, recordings, *words, "--resume")
    found = events(folder)
    assert [step for step, _ in found["step/loss"]] == list(range(12))
    assert [step for step, _ in found["epoch/loss"]] == [3, 7, 11]


def test_a_missing_package_is_one_line_before_anything_is_written(recordings, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    asked = [CONFIGS[0].with_name("featex.yaml"), "--data", recordings, "--out", tmp_path / "run", *QUICK]
    said = error(capsys, run.main, *asked, "--tensorboard")
    assert "--tensorboard: the package tensorboard is missing; pip install tensorboard" in said
    assert not (tmp_path / "run").exists()


def test_the_table_says_clips_per_second(trained):
    rows = (trained / checkpoint.METRICS).read_text().splitlines()
    assert rows[0] == "epoch,loss,seconds,clips_per_s"
    for row in rows[1:]:
        seconds, rate = map(float, row.split(",")[2:])
        assert rate == pytest.approx(16 / seconds, rel=1e-9)
