"""Every window that is due is given or lost, whatever is missing of the sound."""

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.listening.grid import Grid

WINDOW, HOP = 40, 8
STRETCHES = st.lists(st.tuples(st.integers(0, 200), st.integers(1, 200)), max_size=12)


def due(samples):
    return max(0, (samples - WINDOW) // HOP + 1)


@given(STRETCHES)
def test_given_and_lost_are_all_that_were_due(stretches):
    """Stretches of (sound, then a gap): sound begins on the grid again, as `Post` begins its recordings."""
    grid, at, given_windows = Grid(WINDOW, HOP), 0, 0
    for sound, gap in stretches:
        start = at + grid.ahead(at)
        at += sound
        while start + WINDOW <= at:
            grid.given(start)
            given_windows, start = given_windows + 1, start + HOP
        assert grid.passed(at) >= 0
        at += gap
        grid.passed(at)
        assert given_windows + grid.lost == due(at)


@given(st.lists(st.integers(0, 200), min_size=1, max_size=6))
def test_files_that_follow_each_other_are_counted_from_their_own_start(files):
    grid, at, given_windows = Grid(WINDOW, HOP), 0, 0
    for samples in files:
        grid.anchor(at)
        assert grid.ahead(at) == 0
        for number in range(due(samples)):
            grid.given(at + number * HOP)
            given_windows += 1
        at += samples
    assert grid.passed(at) == 0
    assert (given_windows, grid.lost) == (sum(due(samples) for samples in files), 0)


def test_sound_after_a_gap_begins_where_a_window_may_start():
    grid = Grid(WINDOW, HOP)
    assert [grid.ahead(at) for at in (0, 1, 7, 8, 9)] == [0, 7, 1, 0, 7]
    grid.anchor(3)
    assert [grid.ahead(at) for at in (3, 4, 11)] == [0, 7, 0]
