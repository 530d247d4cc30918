"""References and thresholds from recordings: held-out folds, honest promises, and the command."""

import msgspec
import numpy as np
import pytest

from calib import detectors, fit, thresholds
from calib.clips import index
from calib.collect import Collected, collect, mean_per_clip
from calib.layouts import Clip
from calib.machines import fit_machine, normal_rest, normal_spectra, score_clips
from edge_runtime.backends import Pooled
from edge_runtime.bundle import open_bundle
from edge_runtime.cli import run_command
from edge_runtime.errors import DataError
from edge_runtime.scoring import Nearest
from tests.conftest import SHORT, hum, write_wav


def clip(number: int, machine_type: str = "fan") -> Clip:
    from pathlib import Path

    return Clip(Path(f"{number}.wav"), machine_type, "section_00", "train", "source", "normal", "")


def collected(clips: int, dimensions: int = 8, seed: int = 0, windows: int = 1) -> Collected:
    random = np.random.default_rng(seed)
    points = random.standard_normal((clips * windows, dimensions)).astype(np.float32)
    owner = np.repeat(np.arange(clips), windows)
    return Collected([clip(i) for i in range(clips)], owner, {"embedding": points}, points, np.ones(len(points), bool))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(12):
        write_wav(folder / "fan/normal" / f"{number:06d}.wav", hum(1.1, seed=number))
    return folder


def test_a_machine_with_two_speeds_has_a_normal_spectrum_for_each():
    found = collected(40)
    found.mel[:20] += 30.0
    spectra = normal_spectra(found)
    assert spectra.shape == (16, 8)
    away = np.linalg.norm(found.mel[:, np.newaxis] - spectra, axis=2).min(axis=1)
    assert away.max() < 5.0 < np.linalg.norm(found.mel - found.mel.mean(axis=0), axis=1).min()
    np.testing.assert_array_equal(spectra, normal_spectra(found))


def test_what_the_normal_spectra_leave_is_less_than_the_spread_and_most_of_what_new_windows_have():
    found, new = collected(40), collected(1200, seed=1)
    spectra = normal_spectra(found)
    away = np.linalg.norm(new.mel[:, np.newaxis] - spectra, axis=2)
    left = (new.mel - spectra[away.argmin(axis=1)]).std(axis=0)
    rest = normal_rest(found, spectra)
    assert (rest < found.mel.std(axis=0)).all()
    assert 0.65 < rest.mean() / left.mean() < 1.0  # k-means takes more from 40 windows than the 16 that are given back


def test_few_windows_are_each_a_normal_spectrum():
    np.testing.assert_array_equal(normal_spectra(collected(5)), collected(5).mel)


def test_few_windows_of_the_target_domain_have_spectra_of_their_own():
    found = collected(60)
    found.clips[-1] = msgspec.structs.replace(clip(59), domain="target")
    spectra = normal_spectra(found)
    assert any(np.allclose(spectrum, found.mel[-1]) for spectrum in spectra) and len(spectra) == 12 + 1


def test_windows_of_one_recording_are_never_in_two_folds():
    owner = np.repeat(np.arange(13), 4)
    seen = np.zeros(len(owner), int)
    for held in thresholds.folds(owner):
        seen += held
        assert not set(owner[held]) & set(owner[~held])
    assert (seen == 1).all()


def test_one_recording_cannot_be_held_out_and_says_what_to_do():
    with pytest.raises(DataError, match="record a second one"):
        list(thresholds.folds(np.zeros(5, int)))


def test_below_100_clips_the_threshold_is_the_highest_held_out_score_and_promises_nothing():
    limit, promise = thresholds.threshold(np.arange(99.0), clips=99)
    assert limit == 98.0 and promise == "no rate promised: 99 clips, 100 wanted"


def test_from_100_clips_on_one_percent_is_promised():
    limit, promise = thresholds.threshold(np.arange(1000.0), clips=1000)
    assert limit == 990.0  # the 991st of 1000: ceil(1001 * 0.99) = 991
    assert promise.startswith("1.0% of normal windows")


def test_a_rate_that_the_clips_cannot_resolve_is_not_promised():
    assert thresholds.threshold(np.arange(500.0), clips=500, rate=0.001)[1].startswith("no rate promised")


@pytest.mark.parametrize(
    "scoring",
    [detectors.load(detectors.DEFAULT).scoring, Nearest(metric="cosine", centroids=16)],
    ids=["whitened", "cosine"],
)
def test_the_promised_rate_is_kept_on_windows_that_nothing_was_fitted_on(scoring):
    rates = []
    for seed in range(5):
        known = fit_machine(collected(300, seed=seed), scoring)
        fresh = collected(2000, seed=seed + 100)
        rates.append(np.mean(score_clips(fresh, known) > known.threshold))
    # 1 % promised; five thresholds from 300 windows each scatter by about 0.3 % around it
    assert np.mean(rates) < 0.016


def test_a_threshold_from_the_fitted_windows_themselves_would_break_the_promise():
    train = collected(100, dimensions=64)
    known = fit_machine(train, Nearest(metric="euclidean", centroids=16))
    on_itself = np.quantile(score_clips(train, known), 0.99)
    assert np.mean(score_clips(collected(500, 64, seed=9), known) > on_itself) > 0.03
    assert on_itself < known.threshold


def test_the_score_of_a_clip_is_the_mean_over_its_windows():
    np.testing.assert_allclose(mean_per_clip(np.array([1.0, 3.0, 10.0]), np.array([0, 0, 1]), 2), [2.0, 10.0])


def test_selecting_clips_keeps_their_windows_together():
    picked = collected(6, windows=3).select([False, True, False, True, True, False])
    assert [c.path.stem for c in picked.clips] == ["1", "3", "4"]
    assert picked.clip.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_collecting_in_batches_changes_nothing(recordings):
    model = detectors.model(detectors.DEFAULT, SHORT, 8 * 512)
    clips = index(recordings)
    one, many = (collect(clips, model, Pooled(model), batch=size) for size in (1, 7))
    assert np.array_equal(one.outputs["embedding"], many.outputs["embedding"])
    assert one.clip.tolist() == [i for i in range(12) for _ in range(1)]


def test_a_folder_of_recordings_becomes_a_bundle_that_listens(recordings, tmp_path, capsys):
    command = ["--no-network", "--data", str(recordings), "--out", str(tmp_path / "out"), "--window-frames", "31"]
    assert run_command(fit.main, command) == 0
    printed = capsys.readouterr()
    assert "no rate promised: 12 clips, 100 wanted" in printed.out
    bundle = open_bundle(tmp_path / "out")
    assert bundle.machine().fitted[0].points.shape == (12, 128)
    assert bundle.network is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--machine", "valve"], "unknown machine valve; it has fan"),
        (["--window-frames", "40"], "1.10 s, shorter than the window of 1.31 s"),
        (["--rate", "1.5"], "--rate 1.5: give a ratio"),
        (["--hop-frames", "0"], "whole numbers"),
        (["--hop-frames", "32"], "a hop within the window"),
        (["--seed", "-1"], "--seed -1"),
        (["--out", "/proc/nowhere/out"], "/proc/nowhere"),
    ],
)
def test_what_cannot_be_fitted_is_one_line_and_leaves_nothing(recordings, tmp_path, capsys, change, words):
    command = ["--no-network", "--data", str(recordings), "--out", str(tmp_path / "out"), "--window-frames", "31"]
    assert run_command(fit.main, command + change) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(error) == 1 and words in error[0]
    assert list(tmp_path.iterdir()) == []


def test_an_out_folder_that_exists_is_left_alone(recordings, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    assert run_command(fit.main, ["--no-network", "--data", str(recordings), "--out", str(tmp_path / "out")]) == 2
    assert "already exists" in capsys.readouterr().err


def test_silence_is_not_taken_for_the_sound_of_a_machine(recordings, tmp_path, capsys):
    import shutil

    shutil.copytree(recordings, tmp_path / "data")
    silent = write_wav(tmp_path / "data/fan/normal/000003.wav", np.zeros(17_600, np.float32))
    command = [
        "--no-network",
        "--data",
        str(tmp_path / "data"),
        "--out",
        str(tmp_path / "out"),
        "--window-frames",
        "31",
    ]
    assert run_command(fit.main, command) == 2
    assert f"{silent}: holds a window of silence" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_bundle_is_never_fitted_again(recordings, packed, capsys):
    assert run_command(fit.main, [str(packed), "--data", str(recordings)]) == 2
    assert "never changes once packed" in capsys.readouterr().err
    open_bundle(packed)


def test_a_network_for_one_machine_type_is_fitted_to_that_type_alone():
    clips = [clip(0), clip(1, "pump"), clip(2)]
    model = msgspec.structs.replace(detectors.model("mel_mean", SHORT), machine_types=["fan"])
    assert fit.of_known_types(clips, model, "DATA") == [clips[0], clips[2]]
    assert fit.of_known_types(clips, msgspec.structs.replace(model, machine_types=[]), "DATA") == clips
    with pytest.raises(DataError, match="DATA: the network is for valve alone, and the clips are of fan, pump"):
        fit.of_known_types(clips, msgspec.structs.replace(model, machine_types=["valve"]), "DATA")
