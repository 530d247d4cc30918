"""The last minutes of sound: every sample at its place, lost ones known."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.recorder.memory import Memory, in_16_bits, in_float

SIZE = 500
BLOCKS = st.lists(st.tuples(st.integers(0, 700), st.integers(0, 300), st.booleans()), max_size=20)


@settings(max_examples=200)
@given(BLOCKS, st.integers(1, 3))
def test_what_is_read_is_what_was_heard_and_silence_where_it_was_lost(blocks, channels):
    """(samples, lost before them, whether a recording begins); the whole stream is kept beside it."""
    random, memory = np.random.default_rng(0), Memory(SIZE, channels)
    stream, breaks = np.zeros((0, channels), np.int16), set()
    for samples, lost, new in blocks:
        heard = random.integers(-30_000, 30_000, (samples, channels)).astype(np.int16)
        at = len(stream) + lost
        if lost or (new and at):
            breaks.add(at)
        memory.push(at, in_float(heard), new)
        stream = np.concatenate([stream, np.zeros((lost, channels), np.int16), heard])
    assert memory.at == len(stream) and memory.oldest == max(0, len(stream) - SIZE)
    for channel in range(channels):
        assert np.array_equal(memory.read(memory.oldest, memory.at, channel), stream[memory.oldest :, channel])
    told = memory.breaks(memory.oldest, memory.at)
    inside = {at for at in breaks if memory.oldest <= at < memory.at}
    assert inside <= {end for _, end in told} | {at for at in inside if any(a <= at <= b for a, b in told)}
    for start, end in told:
        assert not memory.read(start, end, 0).any()


def test_blocks_that_are_lost_one_after_another_are_one_gap():
    memory = Memory(1000, 1)
    memory.push(0, np.ones((100, 1), np.float32))
    for at in (200, 300, 400):
        memory.push(at, np.zeros((0, 1), np.float32))
    memory.push(400, np.ones((50, 1), np.float32))
    assert memory.breaks(0, 450) == [(100, 400)]
    assert memory.breaks(150, 300) == [(150, 300)] and memory.breaks(0, 100) == [] and memory.breaks(401, 450) == []


def test_sound_of_16_bits_is_kept_exactly_and_any_other_to_the_nearest():
    exact = np.arange(-32_768, 32_768, dtype=np.int16)
    assert np.array_equal(in_16_bits(in_float(exact)), exact)
    odd = np.array([np.nan, np.inf, -np.inf, 2.0, -2.0, 0.4 / 32_768, 0.6 / 32_768], np.float32)
    assert in_16_bits(odd).tolist() == [0, 32_767, -32_768, 32_767, -32_768, 0, 1]
