"""Features on disk are those that would be computed, whatever happens to the files."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import msgspec
import numpy as np
import pytest

from calib import cache
from calib.cache import FeatureCache, feature_cache
from calib.clips import load
from calib.collect import clip_windows
from calib.layouts import Clip
from edge_runtime import bundle, features
from edge_runtime.errors import ConfigError
from edge_runtime.features import LogMel, Spectrum, Stft, Waveform
from tests.conftest import SHORT, hum, write_wav

FRAMED = [LogMel(), Stft(), LogMel(n_mels=32, f_max=4000.0), Stft(n_fft=512, step=128)]


def a_clip(path: Path) -> Clip:
    return Clip(path, "fan", "section_00", "train", "source", "normal", "")


@pytest.fixture
def clip(tmp_path) -> Clip:
    """2.5 s."""
    return a_clip(write_wav(tmp_path / "a.wav", hum(2.5)))


def files(kept: FeatureCache) -> list[Path]:
    assert kept.folder is not None
    return sorted(kept.folder.rglob("*.*"))


def refuse(*_: object) -> np.ndarray:
    raise AssertionError("computed again")


@pytest.mark.parametrize("spec", FRAMED, ids=str)
def test_a_slice_of_the_whole_clip_is_the_input_of_its_window_bit_for_bit(clip, spec, tmp_path, monkeypatch):
    sound, length = load(clip), features.samples_of(20, spec)
    FeatureCache(tmp_path / "cache").framed(clip, spec)
    monkeypatch.setattr(features, "compute", refuse)
    frames = FeatureCache(tmp_path / "cache").framed(clip, spec)
    monkeypatch.undo()
    assert frames.dtype == np.float32 and isinstance(frames, np.memmap) and not frames.flags.writeable
    assert frames.shape == features.shape(spec, len(sound))
    for first in (0, 1, 7, len(frames) - 20):
        part = sound[first * spec.step : first * spec.step + length]
        assert np.array_equal(frames[first : first + 20], features.compute(part, spec))


def test_a_long_clip_is_computed_in_blocks_that_leave_no_seam(tmp_path, monkeypatch):
    clip = a_clip(write_wav(tmp_path / "a.wav", hum(5.0)))
    monkeypatch.setattr(cache, "BLOCK", 50)
    frames = FeatureCache(tmp_path / "cache").framed(clip, LogMel())
    assert len(frames) > 150 and np.array_equal(frames, features.compute(load(clip), LogMel()))


def test_a_spectrum_is_kept_for_its_own_window_alone(clip, tmp_path):
    kept, sound = FeatureCache(tmp_path / "cache"), load(clip)
    for start, window in ((0, SHORT), (512, SHORT), (512, 4000)):
        found = kept.whole(clip, Spectrum(), start, window)
        assert np.array_equal(found, features.compute(sound[start : start + window], Spectrum()))
    assert len(files(kept)) == 3


def changed(spec: LogMel | Stft | Spectrum) -> list[LogMel | Stft | Spectrum]:
    """The spec with one field changed, for every field."""
    return [msgspec.structs.replace(spec, **{name: getattr(spec, name) + 2}) for name in spec.__struct_fields__]


def test_every_field_of_a_spec_its_tag_and_the_sound_tell_features_apart(clip, tmp_path):
    kept = FeatureCache(tmp_path / "cache")
    specs = [LogMel(), *changed(LogMel()), Stft(), *changed(Stft())]
    for spec in specs:
        kept.framed(clip, spec, sound=load(clip))  # type: ignore[arg-type]
    assert len(files(kept)) == len(specs) == 8 + 4
    for spec in (Spectrum(), *changed(Spectrum())):
        kept.whole(clip, spec, 0, SHORT, sound=load(clip))  # type: ignore[arg-type]
    kept.framed(clip, LogMel(), sound=load(clip), channel=1)
    kept.framed(clip, LogMel(), sound=load(clip), sample_rate=8000)
    assert len(files(kept)) == 12 + 2 + 2


def test_another_sound_at_the_same_path_is_noticed_and_the_same_sound_elsewhere_is_known(clip, tmp_path):
    kept = FeatureCache(tmp_path / "cache")
    before = np.array(kept.framed(clip, LogMel()))
    kept.framed(a_clip(write_wav(tmp_path / "copy.wav", hum(2.5))), LogMel())
    assert len(files(kept)) == 1
    write_wav(clip.path, hum(2.5, seed=9))
    os.utime(clip.path, ns=(1, 1))
    after = kept.framed(clip, LogMel())
    assert not np.array_equal(before, after) and np.array_equal(after, features.compute(load(clip), LogMel()))


def test_features_of_other_code_are_not_taken(clip, tmp_path, monkeypatch):
    kept = FeatureCache(tmp_path / "cache")
    kept.framed(clip, LogMel())
    monkeypatch.setattr(cache, "_code", lambda: "changed")
    kept.framed(clip, LogMel())
    assert len(files(kept)) == 2


def spoil(file: Path, how: str) -> None:
    data = bytearray(file.read_bytes())
    if how == "empty":
        data.clear()
    elif how == "cut":
        data = data[:-1000]
    elif how == "cut by one byte":
        data.pop()
    else:
        data[{"header": 20, "values": 5000, "checksum": -1}[how]] ^= 16
    file.unlink()
    file.write_bytes(data)


@pytest.mark.parametrize("how", ["empty", "cut", "cut by one byte", "header", "values", "checksum"])
def test_a_damaged_file_is_computed_again(clip, tmp_path, how):
    kept = FeatureCache(tmp_path / "cache")
    right = np.array(kept.framed(clip, LogMel()))
    (file,) = files(kept)
    spoil(file, how)
    assert np.array_equal(FeatureCache(tmp_path / "cache").framed(clip, LogMel()), right)
    assert cache._is_whole(file) and files(kept) == [file]


def one_process(data: Path, folder: Path) -> float:
    kept = FeatureCache(folder)
    return sum(float(kept.framed(a_clip(path), LogMel()).sum()) for path in sorted(data.glob("*.wav")))


def test_two_processes_may_fill_one_folder(tmp_path):
    for number in range(6):
        write_wav(tmp_path / f"{number}.wav", hum(1.1, seed=number))
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        sums = list(pool.map(one_process, [tmp_path] * 2, [tmp_path / "cache"] * 2))
    assert sums[0] == sums[1] == one_process(tmp_path, tmp_path / "other")
    found = files(FeatureCache(tmp_path / "cache"))
    assert len(found) == 6 and all(cache._is_whole(file) for file in found)


def test_what_was_used_least_recently_goes_first(tmp_path):
    clips = [a_clip(write_wav(tmp_path / f"{number}.wav", hum(1.1, seed=number))) for number in range(8)]
    size = features.shape(LogMel(), len(load(clips[0])))[0] * 128 * 4
    made = FeatureCache(tmp_path / "cache")
    for age, clip in enumerate(clips[:4]):
        made.framed(clip, LogMel())
        (new,) = [file for file in files(made) if file.stat().st_mtime > 10_000]
        os.utime(new, (age, age))
    kept = FeatureCache(tmp_path / "cache", limit=5 * size)
    kept.framed(clips[0], LogMel())  # used now
    for clip in clips[4:7]:
        kept.framed(clip, LogMel())
        assert sum(file.stat().st_size for file in files(kept)) <= 5 * size
    before = set(files(made))
    made.framed(clips[0], LogMel())
    assert set(files(made)) == before, "the clip used last is still there"
    made.framed(clips[1], LogMel())
    assert set(files(made)) != before, "the clip used least recently is not"


def test_a_folder_that_cannot_be_written_stops_nothing(clip, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    kept = FeatureCache(tmp_path / "file")
    for _ in range(2):
        assert np.array_equal(kept.framed(clip, LogMel()), features.compute(load(clip), LogMel()))
    assert capsys.readouterr().err.count("features are not kept") == 1


def test_the_environment_names_folder_and_limit(monkeypatch, tmp_path, cache_folder):
    assert feature_cache() is feature_cache()
    assert feature_cache().folder == cache_folder / "features"
    monkeypatch.setenv("AUSCULT_CACHE", "")
    assert feature_cache().folder is None
    monkeypatch.delenv("AUSCULT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert feature_cache().folder == tmp_path / "auscult" / "features"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert feature_cache().folder == Path.home() / ".cache" / "auscult" / "features"
    monkeypatch.setenv("AUSCULT_CACHE_GB", "0.5")
    assert feature_cache()._limit == 500_000_000


@pytest.mark.parametrize("limit", ["many", "0", "-1", "inf", "nan", ""])
def test_a_limit_that_is_none_is_one_line(monkeypatch, limit):
    monkeypatch.setenv("AUSCULT_CACHE_GB", limit)
    with pytest.raises(ConfigError, match=f"AUSCULT_CACHE_GB={limit}: wanted gigabytes"):
        feature_cache()


@pytest.mark.parametrize("folder", ["", "cache"])
@pytest.mark.parametrize("hop", [8 * 512, 1000])
def test_windows_of_a_clip_are_the_same_with_and_without_a_cache(clip, tmp_path, monkeypatch, folder, hop):
    monkeypatch.setenv("AUSCULT_CACHE", folder and str(tmp_path / folder))
    inputs = {"log_mel": LogMel(), "stft": Stft(), "spectrum": Spectrum(), "sound": Waveform()}
    model = bundle.Model("any", "any", inputs, {}, window=SHORT, hop=hop)
    sound = load(clip)
    for _ in range(2):
        found = list(clip_windows(clip, model))
        assert len(found) == (len(sound) - SHORT) // hop + 1
        for at, (given, level, _) in enumerate(found):
            part = sound[at * hop : at * hop + SHORT]
            assert all(np.array_equal(given[name], features.compute(part, spec)) for name, spec in inputs.items())
            assert np.array_equal(level, features.compute(part, LogMel()).mean(axis=0))
