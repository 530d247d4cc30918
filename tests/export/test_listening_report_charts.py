"""The drawing of a report: where scores, alarms, seams and sound lie, and how figures read."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from edge_runtime.errors import DataError
from edge_runtime.features import LogMel
from export.listening_report import outcome
from export.page import charts, spectrogram, words
from export.page.runs import parse, read_events
from tests.conftest import hum
from tests.export.test_listening_report import FAULTY, SILENT, end, listening, recording, start, switch, window, windows


def test_a_window_without_a_score_breaks_the_line_and_is_hatched():
    figure = charts.draw(listening(SILENT))
    assert figure.plot.lines.count("M") == 2
    assert [span.words for span in figure.unfit] == ["not scored: silence, 11 s to 13 s"]
    assert figure.unfit[0].x + figure.unfit[0].width <= float(figure.plot.lines.split("M")[2].split(",")[0]) / 10


@pytest.mark.parametrize("seam", [recording(12.0), {"event": "lost", "at_s": 12.0, "samples": 512}])
def test_the_line_does_not_go_on_over_a_seam(seam):
    events = [start(), recording(), *windows([1.0, 1.1]), seam, *windows([1.2, 1.0], begin=12.1)]
    assert charts.draw(listening(events)).plot.lines.count("M") == 2


def test_a_score_without_neighbours_is_a_dot_with_the_stretch_of_its_window():
    events = [start(), recording(), window(0.0, 1.0), recording(10.0), window(10.0, 2.0), end(20.0)]
    plot = charts.draw(listening(events)).plot
    assert plot.lines == "" and [dot.above for dot in plot.dots] == [False, True]
    assert (plot.dots[1].from_x, plot.dots[1].x) == (50.0, pytest.approx(99.92))  # 10 s and 19.984 s of 20 s


def test_the_parts_above_and_below_the_threshold_are_drawn_where_they_belong():
    plot = charts.draw(listening(FAULTY)).plot
    heights = [float(point.split(",")[1]) for point in re.split("[ML ]", plot.lines) if point]
    assert [height < plot.threshold_y for height in heights] == [False] * 20 + [True] * 4


def test_the_outcome_counts_from_the_fault():
    events = [start(), switch("alarm", 50.0), switch("normal", 60.0), switch("alarm", 112.5), end(200.0)]
    assert outcome(events, 100.0) == (12.5, 1)
    assert outcome(events, 112.5) == (0.0, 1)  # an alarm at the very second answers the fault
    assert outcome(events, 55.0) == (57.5, 1)  # the alarm that was on at 55 s announced nothing
    assert outcome(events, 150.0) == (None, 2)
    assert outcome([], 1.0) == (None, 0)


def test_an_alarm_that_never_ends_is_drawn_to_the_end():
    figure = charts.draw(listening(FAULTY))
    assert figure.alarms[0].x + figure.alarms[0].width == pytest.approx(
        100.0, abs=0.002
    )  # per cent, rounded to 3 digits
    assert figure.pending[0].width == pytest.approx(100 * 5.0 / 33.0, abs=0.002)


def test_lost_sound_counts_as_time():
    lost = {"event": "lost", "at_s": 15.0, "samples": 80_000}
    events = [start(), recording(), *windows([1.0]), lost, recording(20.0), *windows([1.0], begin=20.0), end(30.0)]
    assert parse(events).seconds == 35.0  # 30 s heard, 5 s lost


def test_a_tone_lies_at_its_frequency_on_the_mel_axis():
    tone = (0.3 * np.sin(2 * np.pi * 2000 * np.arange(5 * 16_000) / 16_000)).astype(np.float32)
    figure = charts.draw(listening([start(), end(5.0)], audio=tone + 1e-3 * hum(5.0)))
    assert figure.image is not None
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(figure.image.uri.split(",")[1]))).convert("L"))
    brightest = np.argmax(pixels.mean(axis=1)) + 0.5
    tick = next(tick.at for tick in figure.hz_ticks if tick.label == "2k")
    assert brightest / 128 * charts.IMAGE == pytest.approx(tick, abs=1.4)  # pixels: a band is 1.33 high


def test_a_stretch_without_sound_is_a_hole_in_the_spectrogram():
    sound = spectrogram.compute([(0.0, hum(5.0)), (10.0, hum(5.0))], LogMel())
    columns = spectrogram.condense(sound, 15.0, 1600)
    empty = np.isnan(columns[:, 0])
    assert empty.mean() == pytest.approx(1 / 3, abs=0.02)  # ratio; a frame is 0.2 % of the stream
    assert empty[len(empty) // 2] and not empty[: len(empty) // 4].any()


def test_a_picture_keeps_a_knock_and_its_place():
    levels = np.full((18_750, 128), -60.0, np.float32)
    levels[9375, 64] = -10.0
    stream = spectrogram.Spectrogram(levels, np.arange(18_750) * 0.032, np.linspace(50, 7900, 128))
    columns = spectrogram.condense(stream, 600.0, spectrogram.COLUMNS)
    assert columns.shape == (1600, 128) and np.argwhere(columns == -10).tolist() == [[800, 64]]


def test_of_very_many_windows_the_highest_are_kept():
    scores = np.random.default_rng(4).uniform(0.5, 1.0, 30_000)
    scores[12_350] = 1.9
    events = [start(), recording(), *windows(scores.tolist()), end(29_800.0)]
    figure = charts.draw(listening(events))
    assert figure.plot.lines.count(",") <= charts.POINTS and figure.plot.grouped == 15
    assert [point for point in figure.readout.points if point[3]] == [(41.145, "3:24:21.2", "1.90", 1, 0)]


def test_a_wide_range_of_scores_has_a_logarithmic_axis():
    events = [start(), recording(), *windows([1.0, 1.2, 40.0]), end(15.0)]
    plot = charts.draw(listening(events)).plot
    assert plot.logarithmic and not charts.draw(listening(FAULTY)).plot.logarithmic
    assert [tick.label for tick in plot.ticks] == ["1", "2", "5", "10", "20", "50"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(14.24, "14.2 s"), (119.96, "2:00"), (314.2, "5:14.2"), (300.0, "5:00"), (3914.25, "1:05:14.2")],
)
def test_time_reads_as_on_a_clock(seconds, said):
    assert words.clock(seconds, 1) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "0"), (1.314, "1.31"), (0.012345, "0.0123"), (1234.5, "1230"), (-2.5, "−2.50"), (9.999, "10.0")],
)
def test_scores_have_three_digits(value, said):
    assert words.number(value) == said


def test_events_of_the_last_run_are_read_and_a_half_written_line_is_not(tmp_path):
    file = tmp_path / "events.jsonl"
    lines = [json.dumps(event) for event in [start("old"), end(1.0), start(), recording(), window(0.0, 1.0)]]
    file.write_text("\n".join(lines) + '\n{"event": "win')
    events = read_events(file, "fan")
    assert [event["event"] for event in events] == ["start", "recording", "window"] and not parse(events).ended
    file.write_text('{"event": "st\n' + "\n".join(lines))
    with pytest.raises(DataError, match="line 1: no event"):
        read_events(file, "fan")
