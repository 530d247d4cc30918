"""Batches: drawn anew every epoch, the same for any number of workers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from calib.clips import index, select
from edge_runtime.stream import windows
from tests.conftest import hum
from tests.train.conftest import tiny
from train import data
from train.models import featex


def loader(recordings: Path, train: bool = True, epoch: int = 0, **training) -> list:
    """The batches of one epoch."""
    clips = select(index(recordings), split="train")
    config = tiny("featex", training=featex.base.Training(batch=6, **training))
    loaders = data.loaders(clips, data.classes_of(clips), featex.INPUTS, config)
    chosen: Any = loaders[0 if train else 1]
    chosen.sampler.set_epoch(epoch)
    return list(chosen)


def equal(one: list, other: list) -> bool:
    pairs = zip(one, other, strict=True)
    return all(
        torch.equal(a.labels, b.labels) and all(torch.equal(a.inputs[n], b.inputs[n]) for n in a.inputs)
        for a, b in pairs
    )


def test_batches_do_not_depend_on_the_number_of_workers(recordings):
    assert equal(loader(recordings, workers=0), loader(recordings, workers=2))


def test_batches_do_not_depend_on_what_is_held_in_memory(recordings):
    assert equal(loader(recordings, workers=0), loader(recordings, workers=0, cache_mb=0))


def test_no_more_sound_is_held_in_memory_than_allowed(recordings):
    clips = select(index(recordings), split="train")
    one = 2 * len(data.load(clips[0]))  # bytes: 16 bits a sample
    assert [len(data.Sounds(clips, 1000, limit)._held) for limit in (0, one - 1, 3 * one, 99 * one)] == [0, 0, 3, 16]


def test_every_batch_of_every_epoch_and_seed_has_a_seed_of_its_own():
    seeds = []
    for seed in (0, 1):
        draws = data.Draws(10, 4, seed, shuffle=True)
        for epoch in (0, 1):
            draws.set_epoch(epoch)
            assert list(draws) == list(draws)
            assert sorted(place for _, places in draws for place in places) == list(range(10))
            seeds += [own for own, _ in draws]
    assert len(set(seeds)) == len(seeds) == 2 * 2 * 3


@pytest.mark.parametrize(
    ("clips", "batch", "sizes"), [(2, 64, [2]), (3, 2, [3]), (65, 64, [33, 32]), (9, 4, [3, 3, 3])]
)
def test_no_batch_holds_a_single_clip(clips, batch, sizes):
    draws = data.Draws(clips, batch, 0, shuffle=True)
    assert [len(places) for _, places in draws] == sizes and len(draws) == len(sizes)


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
        _, expected = next(windows(data.load(clip), featex.INPUTS, tiny("featex").window, 512))
        assert np.array_equal(row.numpy(), expected["stft"])
    assert torch.cat([batch.labels for batch in batches]).max(dim=1).values.eq(1).all()


def test_sound_of_more_than_16_bits_is_held_as_it_is():
    for sound in (hum(0.1), np.array([1.0, -1.0, 1e-7], np.float32)):
        assert np.array_equal(data._unpack(data._pack(sound)), sound)
    assert data._pack(hum(0.1)).dtype == np.int16
