"""Every form of a network that a device may run, on test clips: torch, FP32, FP16, both INT8 forms, an engine."""

import msgspec
import numpy as np
import pytest

from calib import detectors
from edge_runtime import bundle, config, machine_file
from edge_runtime.cli import run_command
from edge_runtime.engine import sidecar
from edge_runtime.errors import BackendError, ConfigError
from export import compare, figures, judged, networks, to_onnx
from tests.conftest import ROOT
from tests.edge_runtime.alarms import Former, machine, score
from tests.export.conftest import MACHINES, MODEL, TEST
from train import run as train


def test_every_form_of_the_network_is_scored_by_the_bundles_own_machines(fitted, compared):
    found = compared
    assert list(found.networks) == [networks.FP32, networks.FP16, networks.CPU, networks.TRT]
    assert list(found.mean.forms) == [compare.FP32_OWN, *found.networks]
    assert [form.references for form in found.mean.forms.values()] == ["its own", *["the bundle's"] * 4]
    exact, half, cpu = (found.networks[form] for form in (networks.FP32, networks.FP16, networks.CPU))
    assert (exact.cosine, exact.noise) == (pytest.approx(1.0), 0.0)
    assert 0.0 < half.noise < cpu.noise and half.cosine > cpu.cosine
    assert half.bytes == (fitted / bundle.FP16).stat().st_size < exact.bytes
    assert 0.0 < exact.milliseconds <= exact.milliseconds_p95
    for row in found.machines:
        assert row.forms[networks.CPU].auc == row.systems[compare.INT8].auc
        assert row.forms[compare.FP32_OWN].auc == row.systems[compare.FP32].auc
        assert row.forms[compare.FP32_OWN].spearman == pytest.approx(1.0)
        assert row.forms[networks.CPU].spearman == row.spearman
        assert row.forms[networks.FP16].spearman > 0.9


def test_normal_sound_above_the_threshold_is_counted(fitted, clips, compared):
    for name in MACHINES:
        machine = machine_file.load_machine(fitted / bundle.MACHINES / f"{name}.npz")
        low = msgspec.structs.replace(machine, threshold=-1.0)
        machine_file.save_machine(fitted / bundle.MACHINES / f"{name}.npz", low)
    found = compare.compare(fitted, clips).mean.forms
    for form in (networks.CPU, networks.FP32, networks.TRT):
        windows = found[form].false_windows
        assert (windows.count, windows.high, found[form].false_clips.value) == (windows.of, 1.0, 1.0)
        assert windows.low == pytest.approx(0.025 ** (1 / (2 * TEST)))  # every one of so many independent clips
    assert found[compare.FP32_OWN].false_windows.value < 1.0  # its threshold is its own
    assert compared.mean.forms[networks.CPU].false_windows.of == windows.of


def test_alarms_among_normal_clips_obey_the_delays_of_the_alarm():
    def heard(decisions):
        clips = [[score(decision)] for decision in decisions]
        scored = judged.Scored(np.zeros(len(clips)), clips, 0, machine())
        return judged.alarms(scored, detectors.model(detectors.DEFAULT))

    assert heard([True] * 4)[0] == 0  # 30 s from the first to the last are wanted: three windows of 9.98 s are less
    assert heard([True] * 5)[0] == 1
    assert heard([True, True, None, None, True, True, True])[0] == 1  # silence pauses
    assert heard([True, True, True, False, True, True])[0] == 0
    assert heard(([True] * 5 + [False] * 8) * 2)[0] == 2
    assert heard([False] * 36)[1] == pytest.approx(36 * 9.984 / 3600)


def test_alarms_among_normal_clips_are_those_of_the_alarm_of_one_threshold():
    model, random, alarms = detectors.model(detectors.DEFAULT), np.random.default_rng(6), 0
    for share in np.linspace(0.05, 0.95, 40):
        draws = random.random((150, 3))
        clips = [[None if draw > 0.97 else bool(draw < share) for draw in clip] for clip in draws]
        former, at, count = Former(30.0, 60.0, model.sample_rate), 0, 0
        for clip in clips:
            former.update(at, None)
            for number, decision in enumerate(clip):
                before = former.state
                count += former.update(at + model.window + number * model.hop, decision) == "alarm" != before
            at += model.window + 2 * model.hop
        scored = judged.Scored(np.zeros(150), [[score(one) for one in clip] for clip in clips], 0, machine())
        assert judged.alarms(scored, model) == (count, at / model.sample_rate / 3600)
        assert scored.false_windows() == (
            sum(one is True for clip in clips for one in clip),
            sum(one is not None for clip in clips for one in clip),
        )
        alarms += count
    assert alarms > 20


def test_shares_and_rates_have_exact_intervals():
    assert figures.share(0, 60, 60).high == pytest.approx(1 - 0.025 ** (1 / 60))
    assert figures.share(6, 60, 60).low < 0.1 < figures.share(6, 60, 60).high
    assert figures.share(6, 60, 10).high > figures.share(6, 60, 60).high  # windows of ten clips are not sixty clips
    none = figures.rate(0, 24.0)
    assert (none.per_day, none.low) == (0.0, 0.0) and none.high == pytest.approx(3.0, abs=0.005)  # the rule of three
    some = figures.rate(4, 48.0)
    assert (
        some.per_day == 2.0
        and some.low == pytest.approx(0.545, abs=0.001)
        and some.high == pytest.approx(5.121, abs=0.001)
    )


def test_a_detector_without_a_network_has_one_form(clips, tmp_path):
    config.save_json(tmp_path / bundle.MODEL, detectors.model(detectors.DEFAULT, MODEL.window, MODEL.hop))
    found = compare.compare(tmp_path, clips)
    assert list(found.mean.forms) == [compare.NONE] and found.networks == {}
    assert found.mean.forms[compare.NONE].spearman is None
    with pytest.raises(ConfigError, match="has no network"):
        compare.compare(tmp_path, clips, engine=tmp_path / "an.engine")


def test_the_table_names_every_form_and_an_engine_that_is_not_there_is_refused(fitted, clips, capsys):
    words = [str(fitted), "--data", str(clips[0].path.parents[3])]
    assert run_command(compare.main, words) == 0
    printed = capsys.readouterr().out
    for form in (compare.FP32_OWN, networks.CPU, networks.TRT, "alarms a day", "the bundle's", "its own"):
        assert form in printed
    assert run_command(compare.main, [*words, "--engine", "no.engine"]) == 2
    assert "no.engine: no such engine" in capsys.readouterr().err
    assert run_command(compare.main, [*words, "--engine", str(fitted / bundle.MODEL)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_torch_of_the_run_scores_as_its_graph_does(clips, tmp_path, capsys):
    data, run, model = str(clips[0].path.parents[3]), tmp_path / "run", tmp_path / "model"
    small = ["window_frames=24", "hop_frames=8", "training.batch=8", "training.workers=0", "training.epochs=1"]
    sets = [word for change in small for word in ("--set", change)]
    featex = str(ROOT / "train/configs/featex.yaml")
    assert run_command(train.main, [featex, "--data", data, "--out", str(run), *sets]) == 0
    assert run_command(to_onnx.main, [str(run), "--data", data, "--out", str(model)]) == 0
    found = compare.compare(model, clips, run=run)
    torch_, exact = found.mean.forms[networks.TORCH], found.mean.forms[networks.FP32]
    assert found.networks[networks.TORCH].cosine > 0.99999
    assert torch_.spearman > 0.999 and torch_.auc.value == pytest.approx(exact.auc.value, abs=0.02)
    other = config.load_json(model / bundle.MODEL, dict)
    config.save_json(model / bundle.MODEL, other | {"system": "tfap"})
    with pytest.raises(ConfigError, match="a run of featex, the model is tfap"):
        compare.compare(model, clips, run=run)


def test_clips_that_the_forms_were_chosen_by_are_not_reported_on(fitted, clips, capsys):
    seen = [clip for clip in clips if clip.machine == "fan" and clip.split == "test"][:3]
    told = config.load_json(fitted / bundle.QUANTIZATION, dict)
    told["labelled_clips"] = {"clips": 3, "digest": "", "files": [bundle.sha256(clip.path) for clip in seen]}
    config.save_json(fitted / bundle.QUANTIZATION, told)
    found = compare.compare(fitted, clips)
    assert "chosen by them: 3 test clips" in capsys.readouterr().err
    assert found.mean.normal + found.mean.anomalous == 4 * TEST - 3
    assert found.machines[1].normal == found.machines[1].anomalous == TEST


def test_an_engine_of_another_network_is_refused(fitted, tmp_path):
    engine = tmp_path / "an.engine"
    engine.write_bytes(b"an engine")
    made = sidecar.Made(
        provider="tensorrt", tensorrt="10.3.0", cuda="12.6", gpu="Orin", compute_capabilities=["8.7"], l4t="",
        onnx="0" * 64, engine=bundle.sha256(engine), precision="int8", batch=1, workspace_mib=None, layers=[],
        seconds=1.0, auscult="0.1.0",
    )  # fmt: skip
    sidecar.write(engine, made)
    with pytest.raises(BackendError, match="built from another network"):
        networks.check_engine(fitted, engine)
    sidecar.write(engine, msgspec.structs.replace(made, onnx=bundle.sha256(fitted / bundle.TRT)))
    networks.check_engine(fitted, engine)
