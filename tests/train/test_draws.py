"""Which clips make a batch."""

import numpy as np
import pytest

from train.draws import Draws, EveryClip, HalfAndHalf, Parts, PerClass, rows_of


def epoch(draws: Draws, number: int = 0) -> list[list[int]]:
    draws.set_epoch(number)
    found = [places for _, places in draws]
    assert len(found) == len(draws)
    return found


def test_half_of_every_batch_is_of_one_kind_and_the_larger_kind_is_heard_once():
    kind = [True] * 5 + [False] * 12
    found = epoch(Draws(17, 6, 0, True, HalfAndHalf(kind)))
    assert [sum(kind[place] for place in places) for places in found] == [3] * 4 and {len(p) for p in found} == {6}
    assert sorted(place for places in found for place in places if not kind[place]) == list(range(5, 17))


def test_a_clip_and_its_mirror_image_are_of_one_kind():
    kind = [True] * 9 + [False] * 20
    for places in epoch(Draws(29, 8, 0, True, HalfAndHalf(kind))):
        assert [kind[place] for place in places] == [kind[place] for place in places[::-1]]


def test_every_batch_holds_as_many_classes_as_it_has_room_for_with_as_many_clips_each():
    classes = [0] * 40 + [1] * 20 + [2] * 12
    found = epoch(Draws(72, 8, 0, True, PerClass(classes, 4)))
    for places in found:
        numbers = [classes[place] for place in places]
        assert len(set(numbers)) == 2 and all(numbers.count(one) == 4 for one in numbers)
        assert len(set(places)) == 8, "no clip twice where the class has enough"
    turns = [one for places in found for one in dict.fromkeys(classes[place] for place in places)]
    assert [turns.count(one) for one in range(3)] == [6, 6, 6], "classes take turns"


def test_with_fewer_classes_than_fit_a_batch_is_smaller_and_a_small_class_comes_twice():
    found = epoch(Draws(5, 48, 0, True, PerClass([0, 0, 0, 1, 1], 8)))
    assert [len(places) for places in found] == [16] and sorted(set(found[0])) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("sampling", [EveryClip(), HalfAndHalf([True, False] * 8), PerClass([0, 1] * 8, 2)])
def test_an_epoch_depends_on_seed_and_number_alone_and_in_order_is_in_order(sampling):
    draws = Draws(16, 4, 3, True, sampling)
    assert epoch(draws, 1) == epoch(draws, 1) != epoch(draws, 2)
    assert epoch(draws, 1) != epoch(Draws(16, 4, 4, True, sampling), 1)
    assert np.concatenate(epoch(Draws(16, 4, 3, False, sampling))).tolist() == list(range(16))


@pytest.mark.parametrize("batch", range(2, 23))
def test_the_parts_of_a_batch_hold_every_row_once_beside_its_mirror_image(batch):
    for parts in range(1, batch // 2 + 1):
        found = [rows_of(batch, parts, part) for part in range(parts)]
        assert sorted(row for rows in found for row in rows) == list(range(batch))
        for rows in found:
            assert [batch - 1 - row for row in rows] == rows[::-1] and len(rows) >= 2
        sizes = [len(rows) for rows in found]
        assert max(sizes) - min(sizes) <= 2


def test_processes_take_the_parts_of_the_same_draws_and_what_is_done_is_left_out():
    draws = Draws(16, 8, 3, True)
    mine, other = (Parts(draws, 2, process, 2) for process in (0, 1))
    mine.set_epoch(1), other.set_epoch(1)
    assert len(mine) == len(other) == len(list(mine)) == 4
    for seed, places in draws:
        parts = [part for part in [*mine, *other] if part.seed == seed]
        assert all(part.places == places for part in parts)
        assert sorted(row for part in parts for row in part.rows) == list(range(8))
    whole = list(mine)
    mine.set_epoch(1, skip=1)
    assert list(mine) == whole[2:] and len(mine) == 2


@pytest.mark.parametrize("sampling", [EveryClip(), HalfAndHalf([True, False] * 8), PerClass([0, 1] * 8, 2)])
def test_the_smallest_batch_is_known_before_it_is_drawn(sampling):
    for batch in (2, 5, 6, 7, 16, 64):
        draws = Draws(16, batch, 3, True, sampling)
        assert min(len(places) for places in epoch(draws)) == draws.smallest


@pytest.mark.parametrize("parts", [2, 4])
def test_every_part_of_a_batch_of_two_kinds_or_of_several_classes_has_all_of_them(parts):
    (batch,) = epoch(Draws(32, 32, 0, True, HalfAndHalf([True] * 16 + [False] * 16)))
    counts = [sum(batch[row] < 16 for row in rows_of(32, parts, part)) for part in range(parts)]
    assert counts == [16 // parts] * parts
    classes = [place // 8 for place in range(48)]
    (batch,) = epoch(Draws(48, 48, 0, True, PerClass(classes, 8)))
    for part in range(parts):
        found = [classes[batch[row]] for row in rows_of(48, parts, part)]
        assert [found.count(one) for one in range(6)] == [8 // parts] * 6
