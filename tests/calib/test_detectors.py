"""Every detector without a network is packed, checked and listens; loudness hears level and nothing else."""

import msgspec
import numpy as np
import pytest

from calib import detectors, fit
from calib.clips import index
from calib.collect import collect
from calib.fit import training_clips
from calib.machines import fit_machines, score_clips
from edge_runtime import __main__, check, config
from edge_runtime.backends import Several, open_backend
from edge_runtime.bundle import load_model, open_bundle
from edge_runtime.cli import run_command
from edge_runtime.errors import ConfigError, DataError
from edge_runtime.pooling import Gem
from edge_runtime.scoring import Mixture
from tests.conftest import SHORT, hum, write_wav


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Two machines of one type, of 14 clips each."""
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(28):
        section, pitch = divmod(number, 14)[0], 60.0 + 40.0 * (number // 14)
        name = f"section_{section:02d}_source_train_normal_{number:04d}_a.wav"
        write_wav(folder / "dev_data/fan/train" / name, hum(1.1, seed=number, pitch=pitch))
    return folder


@pytest.mark.parametrize("name", detectors.names())
def test_every_detector_becomes_a_bundle_that_is_as_packed_and_scores(name, recordings, tmp_path, capsys):
    words = ["--detector", name, "--data", str(recordings), "--out", str(tmp_path / "out"), "--window-frames", "31"]
    assert run_command(fit.main, words) == 0
    assert check.main([str(tmp_path / "out")]) == 0
    bundle = open_bundle(tmp_path / "out")
    assert bundle.network is None and len(bundle.machines) == 2
    file = write_wav(tmp_path / "new.wav", hum(3.0, seed=99, pitch=300.0))
    capsys.readouterr()
    words = ["score", str(tmp_path / "out"), "--machine", "fan_section_00", str(file)]
    assert run_command(__main__.main, words) == 0
    assert capsys.readouterr().out.strip()


def test_several_detectors_hear_the_same_windows_as_each_alone(recordings):
    clips = index(recordings)
    chosen = ["mel_mean", "loudness", "twfr_gmm"]
    models = {name: detectors.model(name, SHORT, 8 * 512) for name in chosen}
    hears = Several({name: open_backend(None, model) for name, model in models.items()})
    together = collect(clips, detectors.hearing(models["mel_mean"], chosen), hears)
    for name, model in models.items():
        alone = collect(clips, model, open_backend(None, model))
        assert all(np.array_equal(alone.outputs[key], array) for key, array in together.part(name).outputs.items())
        known = fit_machines(alone, model.scoring)["fan_section_00"]
        scores = score_clips(alone.machine("fan_section_00"), known)
        assert np.isfinite(scores).all() and np.isfinite(known.threshold)


def test_loudness_is_the_distance_from_the_mean_level_in_deviations(recordings, tmp_path):
    clips, model = index(recordings), detectors.model("loudness", SHORT, 8 * 512)
    heard = collect(clips, model, open_backend(None, model)).machine("fan_section_00")
    levels = heard.outputs["embedding"][:, 0].astype(np.float64)
    scores = score_clips(heard, fit_machines(heard, model.scoring)["fan_section_00"])
    np.testing.assert_allclose(scores, np.abs(levels - levels.mean()) / levels.std(), rtol=1e-3)  # float32 references


def test_an_unknown_detector_is_named_beside_those_there_are():
    with pytest.raises(ConfigError, match="nosuch: no such detector; there is loudness, mel_gem"):
        detectors.load("nosuch")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "title: x\npoolings: {e: {kind: mean}}\nscoring: {kind: nearest}",
            "nearest of embedding: no such output",
        ),
        (
            "title: x\npoolings: {e: {kind: mean, input: mel}}\nscoring: {kind: mixture, of: e}",
            "pooling e of mel: no such",
        ),
        ("title: x\npoolings: {e: {kind: level, input: log_mel}}\nscoring: {kind: mixture, of: e}", "made of waveform"),
        ("title: x\npoolings: {e: {kind: mean, input: waveform}}\nscoring: {kind: mixture, of: e}", "made of log_mel"),
        ("title: x\npoolings: {e: {kind: level}}\nscoring: {kind: nearest, of: e}", "have no angle"),
        (
            "title: x\npoolings: {e: {kind: mean}}\nscoring: {kind: network, of: e}",
            "wanted one number",
        ),
        ("title: x\npoolings: {e: {kind: rdp, gamma: 1.0e+6}}\nscoring: {kind: nearest, of: e}", "<= 100"),
        ("title: x\npoolings: {e: {kind: mean}}\nscoring: {of: e}", "missing field kind; say which: nearest"),
        ("title: x\npoolings: {}\nscoring: {kind: nearest}", "length >= 1"),
        ("title: x\npoolings: {e: {kind: median}}\nscoring: {kind: nearest}", "median"),
    ],
)
def test_a_detector_that_cannot_work_is_refused_by_field(text, words, tmp_path):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(Exception, match=words):
        detectors.load(tmp_path / "mine.yaml")


def test_few_targets_keeps_the_first_of_each_machine_and_every_source_clip(recordings):
    clips = index(recordings)
    target = [type(c)(**{**{f: getattr(c, f) for f in c.__struct_fields__}, "domain": "target"}) for c in clips[:5]]
    assert fit.few_targets([*clips[5:], *target], 2) == [*clips[5:], *target[:2]]
    assert fit.few_targets([*clips[5:], *target], 0) == clips[5:]


def test_a_scoring_that_cannot_be_fitted_leaves_the_model_folder_as_it_was(recordings, tmp_path):
    model = detectors.model("mel_mean", SHORT, 8 * 512)
    config.save_json(tmp_path / "model.json", model)
    (tmp_path / "pr.yaml").write_text("scoring: {kind: probability, of: embedding}")
    (tmp_path / "gmm.yaml").write_text("scoring: {kind: mixture}\npoolings: {embedding: {kind: gem}}")
    fit.fit_folder(tmp_path, training_clips(recordings), 0.01, 0)
    before = {file.name: file.read_bytes() for file in tmp_path.rglob("*") if file.suffix in (".json", ".npz")}
    with pytest.raises(DataError, match="class probability needs a machine that the network was trained on"):
        fit.fit_folder(tmp_path, training_clips(recordings), 0.01, 0, tmp_path / "pr.yaml")
    assert {f.name: f.read_bytes() for f in tmp_path.rglob("*") if f.suffix in (".json", ".npz")} == before
    machines = fit.fit_folder(tmp_path, training_clips(recordings), 0.01, 0, tmp_path / "gmm.yaml")
    assert all(isinstance(machine.scoring, Mixture) for machine in machines.values())
    assert load_model(tmp_path).poolings == {"embedding": Gem()}


def test_a_machine_of_target_clips_alone_does_not_vanish_without_a_word(recordings):
    clips = [msgspec.structs.replace(clip, domain="target") for clip in index(recordings)]
    with pytest.raises(DataError, match="--target-clips 0: fan_section_00 has clips of the target domain alone"):
        fit.few_targets(clips, 0)
