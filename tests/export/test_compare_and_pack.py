"""The comparison on test clips, and the bundle that carries it. About 10 s."""

import msgspec
import numpy as np
import pytest

from calib import detectors
from calib.metrics import auc, pauc
from edge_runtime import bundle, config, machine_file
from edge_runtime.bundle import Accuracy
from edge_runtime.cli import run_command
from edge_runtime.errors import BundleError, ConfigError, DataError
from export import budgets, compare, figures, pack
from tests.export.conftest import MACHINES, MODEL, TEST, TRAIN

RANDOM = np.random.default_rng(3)
LABELS = np.arange(40) % 2 == 1
SCORES = RANDOM.normal(size=40) + LABELS


def test_the_figures_are_those_of_the_metrics():
    found = figures.draw(LABELS, {"a": SCORES}, [0])["a"].figures
    assert found.auc.value == pytest.approx(auc(LABELS, SCORES), abs=1e-12)
    assert found.pauc.value == pytest.approx(pauc(LABELS, SCORES), abs=1e-12)
    assert found.auc.low < found.auc.value < found.auc.high


def test_a_system_does_not_differ_from_itself_in_any_resample():
    drawn = figures.draw(LABELS, {"a": SCORES, "b": 2 * SCORES}, [0])
    difference = (drawn["a"] - drawn["b"]).figures
    assert (difference.auc.low, difference.auc.value, difference.auc.high) == (0, 0, 0)


def test_paired_intervals_are_narrower_than_the_difference_of_two():
    drawn = figures.draw(LABELS, {"a": SCORES, "b": SCORES + 0.1 * RANDOM.normal(size=40)}, [0])
    paired = (drawn["a"] - drawn["b"]).figures.auc
    alone = drawn["a"].figures.auc
    assert paired.high - paired.low < 0.5 * (alone.high - alone.low)


def test_the_mean_over_machines_averages_values_and_narrows_the_interval():
    parts = [figures.draw(LABELS, {"a": SCORES}, [seed])["a"] for seed in range(4)]
    mean, one = figures.mean(parts).figures.auc, parts[0].figures.auc
    assert mean.value == pytest.approx(one.value)
    assert mean.high - mean.low < 0.7 * (one.high - one.low)  # of four: half


def test_every_system_is_compared_on_every_machine(compared):
    assert [row.machine for row in compared.machines] == sorted(MACHINES)
    for row in compared.machines:
        assert list(row.systems) == [compare.INT8, compare.FP32, compare.NONE, compare.LOUDNESS]
        assert (row.train, row.normal, row.anomalous) == (TRAIN, TEST, TEST)
        changed = row.systems[compare.INT8].auc.value - row.systems[compare.FP32].auc.value
        assert row.int8_change.auc.value == pytest.approx(changed)
        gained = row.systems[compare.INT8].auc.value - row.systems[compare.NONE].auc.value
        assert row.gain.auc.value == pytest.approx(gained)
        assert row.spearman > 0.9
    assert compared.mean.normal == 2 * TEST
    values = [row.systems[compare.NONE].pauc.value for row in compared.machines]
    assert compared.mean.systems[compare.NONE].pauc.value == pytest.approx(np.mean(values))


def test_what_the_folder_listens_with_is_scored_by_its_own_machines(fitted, clips, compared):
    for file in (fitted / bundle.MACHINES).glob("*.npz"):
        machine = machine_file.load_machine(file)
        (fitted_part,) = machine.fitted
        far = msgspec.structs.replace(
            machine, fitted=[msgspec.structs.replace(fitted_part, points=-fitted_part.points)]
        )
        machine_file.save_machine(file, far)
    found = compare.compare(fitted, clips)
    for before, after in zip(compared.machines, found.machines, strict=True):
        assert after.systems[compare.INT8] != before.systems[compare.INT8]
        assert after.systems[compare.FP32] == before.systems[compare.FP32]
        changed = after.systems[compare.INT8].auc.value - after.systems[compare.FP32].auc.value
        assert after.int8_change.auc.value == pytest.approx(changed) and changed < -0.1


def test_a_folder_without_a_network_is_compared_with_loudness(clips, tmp_path):
    model = detectors.model(detectors.DEFAULT, MODEL.window, MODEL.hop)
    config.save_json(tmp_path / bundle.MODEL, model)
    found = compare.compare(tmp_path, clips)
    assert list(found.mean.systems) == [compare.NONE, compare.LOUDNESS]
    assert found.mean.gain is None and found.mean.spearman is None
    assert found.accuracy["fan"].auc_fp32 is None


def test_data_without_test_clips_is_refused(quantized, clips):
    with pytest.raises(DataError, match="nothing to compare"):
        compare.compare(quantized, [clip for clip in clips if clip.label == "normal"])


def test_the_comparison_is_printed_and_written(fitted, clips, tmp_path, capsys):
    words = [str(fitted), "--data", str(clips[0].path.parents[3]), "--out", str(tmp_path / "accuracy.json")]
    assert run_command(compare.main, words) == 0
    printed = capsys.readouterr().out
    for text in ("fan:", "pump:", "mean:", *compare.compare(fitted, clips).mean.systems, "Spearman"):
        assert text in printed
    read = config.load_json(tmp_path / "accuracy.json", compare.Comparison)
    assert set(read.accuracy) == set(MACHINES)
    assert run_command(compare.main, words) == 2  # it is there already
    assert capsys.readouterr().err.count("already exists") == 1


def test_a_packed_folder_opens_and_says_how_accurate_it_is(fitted, compared, tmp_path):
    pack.pack(fitted, tmp_path / "bundle", compared)
    opened = bundle.open_bundle(tmp_path / "bundle")
    assert opened.machines == sorted(MACHINES)
    assert opened.manifest.accuracy == compared.accuracy
    assert opened.manifest.accuracy["fan"].auc == compared.machines[0].systems[compare.INT8].auc.value
    assert {bundle.FP32, bundle.CPU, bundle.TRT, bundle.GOLDEN, bundle.MODEL} <= set(opened.manifest.files)
    assert {"sound", "output.embedding", "score.fan", "score.pump"} <= set(opened.golden())


def test_accuracy_of_other_files_is_refused(fitted, compared, tmp_path):
    machine = machine_file.load_machine(fitted / bundle.MACHINES / "fan.npz")
    other = msgspec.structs.replace(machine, threshold=machine.threshold + 1.0)
    machine_file.save_machine(fitted / bundle.MACHINES / "fan.npz", other)
    with pytest.raises(ConfigError, match=r"machines/fan\.npz"):
        pack.pack(fitted, tmp_path / "bundle", compared)
    assert not (tmp_path / "bundle").exists()


def test_a_damaged_machine_is_refused_and_leaves_nothing(fitted, tmp_path):
    (fitted / bundle.MACHINES / "fan.npz").write_bytes(b"half a machine")
    out = tmp_path / "site" / "bundle"
    with pytest.raises(BundleError, match=r"fan\.npz"):
        pack.pack(fitted, out)
    assert not out.parent.exists() or list(out.parent.iterdir()) == []


def test_the_pack_command_says_what_is_in_it(fitted, tmp_path, capsys):
    assert run_command(pack.main, [str(fitted), "--out", str(tmp_path / "bundle")]) == 0
    said = capsys.readouterr()
    for text in (bundle.CPU, "golden.npz", "fan: threshold", "parameters", "GFLOPs"):
        assert text in said.out
    assert "warning: nothing was measured" in said.err


def test_the_pack_command_refuses_in_one_line(quantized, fitted, tmp_path, capsys):
    def error_of(*words: object) -> None:
        assert run_command(pack.main, [str(word) for word in words]) == 2

    error_of(quantized, "--out", tmp_path / "bundle", "--accuracy", tmp_path / "nothing.json")
    error_of(fitted, "--out", fitted)
    error_of(tmp_path, "--out", tmp_path / "bundle")
    assert capsys.readouterr().err.count("\n") == 3
    with pytest.raises(BundleError, match="no machine is fitted yet"):
        pack.pack(quantized, tmp_path / "bundle")


def test_what_is_over_its_budget_is_said():
    good = Accuracy(auc=0.9, pauc=0.8, auc_fp32=0.904, pauc_fp32=0.8, spearman=0.981)
    bad = Accuracy(auc=0.9, pauc=0.8, auc_fp32=0.906, pauc_fp32=0.8, spearman=0.979)
    within = msgspec.structs.replace(MODEL, parameters=budgets.PARAMETERS, macs=budgets.MACS)
    over = msgspec.structs.replace(MODEL, parameters=budgets.PARAMETERS + 1, macs=budgets.MACS + 1)
    assert list(budgets.over(within, {"fan": good})) == []
    assert len(list(budgets.over(over, {"fan": bad}))) == 4
    assert list(budgets.over(msgspec.structs.replace(over, system="tranself"), {})) == []  # as large as its paper says
