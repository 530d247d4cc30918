"""Batches: drawn anew every epoch, the same for any number of workers."""

from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest
import torch

from calib.clips import index, load, select
from calib.layouts import Clip
from edge_runtime import features
from edge_runtime.stream import windows
from tests.conftest import hum
from tests.train.conftest import tiny
from train import data, draws, sounds
from train.models import autoencoder, base, featex


class Paired(featex.Config, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="system", tag="featex"):
    """A system that wants pairs."""

    def pairs(self) -> bool:
        return True


class Cropped(
    autoencoder.Config, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="system", tag="autoencoder"
):
    """A system that is trained on shorter windows than it listens to."""

    any_length: ClassVar[bool] = True


def batches(recordings: Path, config: base.Config, train: bool = True, epoch: int = 0) -> list[base.Batch]:
    """The batches of one epoch."""
    clips = select(index(recordings), split="train")
    loaders = data.loaders(clips, data.classes_of(clips), config)
    chosen: Any = loaders[0 if train else 1]
    chosen.sampler.set_epoch(epoch)
    return list(chosen)


def loader(recordings: Path, train: bool = True, epoch: int = 0, **training) -> list[base.Batch]:
    return batches(recordings, tiny("featex", training=base.Training(batch=6, **training)), train, epoch)


def equal(one: list[base.Batch], other: list[base.Batch]) -> bool:
    return all(
        torch.equal(a.labels, b.labels) and same(a.inputs, b.inputs) and same(a.pair or {}, b.pair or {})
        for a, b in zip(one, other, strict=True)
    )


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_batches_do_not_depend_on_the_number_of_workers(recordings):
    assert equal(loader(recordings, workers=0), loader(recordings, workers=2))


def test_batches_do_not_depend_on_what_is_held_in_memory(recordings):
    assert equal(loader(recordings, workers=0), loader(recordings, workers=0, cache_mb=0))


def test_no_more_sound_is_held_in_memory_than_allowed(recordings):
    clips = select(index(recordings), split="train")
    one = 2 * len(load(clips[0]))  # bytes: 16 bits a sample
    assert [len(sounds.Sounds(clips, 1000, limit)._held) for limit in (0, one - 1, 3 * one, 99 * one)] == [0, 0, 3, 16]


def test_every_batch_of_every_epoch_and_seed_has_a_seed_of_its_own():
    seeds = []
    for seed in (0, 1):
        drawn = draws.Draws(10, 4, seed, shuffle=True)
        for epoch in (0, 1):
            drawn.set_epoch(epoch)
            assert list(drawn) == list(drawn)
            assert sorted(place for _, places in drawn for place in places) == list(range(10))
            seeds += [own for own, _ in drawn]
    assert len(set(seeds)) == len(seeds) == 2 * 2 * 3


@pytest.mark.parametrize(
    ("clips", "batch", "sizes"), [(2, 64, [2]), (3, 2, [3]), (65, 64, [33, 32]), (9, 4, [3, 3, 3])]
)
def test_no_batch_holds_a_single_clip(clips, batch, sizes):
    drawn = draws.Draws(clips, batch, 0, shuffle=True)
    assert [len(places) for _, places in drawn] == sizes and len(drawn) == len(sizes)


def test_every_epoch_draws_anew_and_holds_every_clip_once(recordings):
    first, second = (loader(recordings, epoch=epoch, workers=0) for epoch in (0, 1))
    assert not equal(first, second)
    assert [len(batch.labels) for batch in first] == [6, 5, 5]
    assert float(sum(batch.labels.sum() for batch in first)) == pytest.approx(16, abs=1e-4)  # float32


def test_without_training_every_clip_gives_its_first_window_unmixed(recordings):
    batches = loader(recordings, train=False, workers=0)
    clips = select(index(recordings), split="train")
    stft = torch.cat([batch.inputs["stft"] for batch in batches])
    for clip, row in zip(clips, stft, strict=True):
        _, expected = next(windows(load(clip), tiny("featex").inputs(), tiny("featex").window, 512))
        assert np.array_equal(row.numpy(), expected["stft"])
    assert torch.cat([batch.labels for batch in batches]).max(dim=1).values.eq(1).all()


def test_sound_of_more_than_16_bits_is_held_as_it_is():
    for sound in (hum(0.1), np.array([1.0, -1.0, 1e-7], np.float32)):
        assert np.array_equal(sounds._unpack(sounds._pack(sound)), sound)
    assert sounds._pack(hum(0.1)).dtype == np.int16


def test_pairs_do_not_depend_on_the_number_of_workers_and_change_nothing_but_the_sound(recordings):
    config, plain = Paired(window_frames=20, mixup=0.5), tiny("featex", mixup=0.5)
    training = [base.Training(batch=6, workers=workers) for workers in (0, 2)]
    one, other = (batches(recordings, msgspec.structs.replace(config, training=each)) for each in training)
    assert equal(one, other) and all(batch.pair is not None for batch in one)
    unpaired = batches(recordings, msgspec.structs.replace(plain, training=training[0]))
    for batch, alone in zip(one, unpaired, strict=True):
        assert torch.equal(batch.labels, alone.labels) and alone.pair is None
        assert batch.pair is not None and not same(batch.inputs, batch.pair) and not same(batch.inputs, alone.inputs)
    (first, *_) = batches(recordings, config, train=False)
    assert first.pair is None, "what is not for training has no pairs"


@pytest.mark.parametrize("config", [Paired(window_frames=20, mixup=0.5), Cropped(window_frames=20, crop_frames=8)])
def test_the_parts_of_two_processes_are_the_rows_of_the_whole_batch(recordings, config):
    """Windows, mixtures, pairs and their augmentation: everything is drawn for the whole."""
    clips = select(index(recordings), split="train")
    config = msgspec.structs.replace(config, training=base.Training(batch=8, workers=0, accumulate=2))
    whole = batches(recordings, msgspec.structs.replace(config, training=base.Training(batch=8, workers=0)))
    for process in (0, 1):
        loader, _ = data.loaders(clips, data.classes_of(clips), config, 2, process)
        parts = list(loader)
        assert len(parts) == 2 * len(whole)
        for at, part in enumerate(parts):
            batch = whole[at // 2]
            assert part.seed == batch.seed and part.whole == len(batch.labels) == 8 and part.share == 0.25
            assert torch.equal(part.labels, batch.labels[part.places])
            assert torch.equal(part.uniform(1), batch.uniform(1)[part.places])
            assert same(part.inputs, {name: array[part.places] for name, array in batch.inputs.items()})
            assert same(part.pair or {}, {name: array[part.places] for name, array in (batch.pair or {}).items()})


def a_clip(number: int, machine: str, domain: str | None, attributes: str = "") -> Clip:
    return Clip(Path(f"{number}.wav"), machine, "section_00", "train", domain, "normal", attributes)


def test_a_pair_is_of_the_same_machine_under_other_conditions_where_there_are_any():
    clips = [
        a_clip(0, "fan", "source"), a_clip(1, "fan", "source"), a_clip(2, "fan", "target"),
        a_clip(3, "fan", "source", "spd_1"), a_clip(4, "pump", "source"), a_clip(5, "pump", "source"),
        a_clip(6, "pump", "source"), a_clip(7, "valve", None),
    ]  # fmt: skip
    pairs = sounds.Pairs(clips)
    candidates = [set(pairs.candidates(place).tolist()) for place in range(8)]
    assert candidates == [{2, 3}, {2, 3}, {0, 1, 3}, {0, 1, 2}, {5, 6}, {4, 6}, {4, 5}, {7}]
    rng = np.random.default_rng(0)
    drawn = [set(column) for column in zip(*(pairs.draw(range(8), rng) for _ in range(50)), strict=True)]
    assert drawn == candidates, "each is drawn"


def framed(recordings: Path, workers: int = 0, **changes) -> list[base.Batch]:
    training = base.Training(batch=6, workers=workers)
    return batches(recordings, Cropped(window_frames=20, crop_frames=8, training=training, **changes))


def test_windows_of_kept_features_are_those_that_would_be_computed(recordings, monkeypatch, tmp_path):
    monkeypatch.setenv("AUSCULT_CACHE", str(tmp_path))
    cold, warm, workers = framed(recordings), framed(recordings), framed(recordings, workers=2)
    assert len(list(tmp_path.rglob("*.npy"))) == 16
    monkeypatch.setenv("AUSCULT_CACHE", "")
    assert equal(cold, warm) and equal(cold, workers) and equal(cold, framed(recordings))


def test_windows_of_kept_features_begin_at_frames_of_their_clip_at_all_places(recordings):
    clips = select(index(recordings), split="train")
    whole = [features.compute(load(clip), features.LogMel()) for clip in clips]
    places = set()
    config = Cropped(window_frames=20, crop_frames=8, training=base.Training(batch=6, workers=0))
    for batch in (batch for epoch in range(6) for batch in batches(recordings, config, epoch=epoch)):
        for row in batch.inputs["log_mel"].numpy():
            assert row.shape == (8, 128)
            places |= {at for clip in whole for at in range(len(clip) - 7) if np.array_equal(clip[at : at + 8], row)}
    assert places == set(range(len(whole[0]) - 7))


def test_a_system_that_changes_waveforms_keeps_nothing_on_disk(recordings, monkeypatch, tmp_path):
    monkeypatch.setenv("AUSCULT_CACHE", str(tmp_path))
    loader(recordings, workers=0)
    assert not list(tmp_path.rglob("*.npy"))


def test_training_windows_are_as_long_as_a_crop_and_the_last_pass_hears_what_listens(recordings):
    config = Cropped(window_frames=20, crop_frames=8, training=base.Training(workers=0))
    for train, frames in ((True, 8), (False, 20)):
        assert {batch.inputs["log_mel"].shape[1] for batch in batches(recordings, config, train)} == {frames}


def test_classes_are_told_apart_by_what_the_system_says():
    clips = [a_clip(0, "fan", "source"), a_clip(1, "fan", "target", "spd_1"), a_clip(2, "pump", "source")]
    by_machine = data.classes_of(clips, ("machine_type", "section"))
    assert by_machine == [base.SoundClass(kind, "section_00", "", None) for kind in ("fan", "pump")]
    assert data.classes_of(clips, ("domain",)) == [base.SoundClass("", "", "", d) for d in ("source", "target")]
    assert len(data.classes_of(clips)) == 3


def test_clips_of_the_target_domain_are_kept_out_where_the_system_says():
    class SourceOnly(base.Config, frozen=True):
        source_only: ClassVar[bool] = True

    clips = [a_clip(0, "fan", "source"), a_clip(1, "fan", "target"), a_clip(2, "fan", None)]
    assert data.usable(clips, SourceOnly()) == [clips[0], clips[2]]
    assert data.usable(clips, base.Config()) == clips
