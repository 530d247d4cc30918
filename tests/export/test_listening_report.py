"""The report: one page that holds every figure, loads nothing, and hides no bad news."""

import re

import numpy as np
import pytest

from calib.bootstrap import Interval
from edge_runtime.__main__ import main as listen
from edge_runtime.cli import run_command
from export.listening_report import Facts, Listening, Method, Page, Row, main, outcome, write_report
from export.page import spectrogram, words
from export.page.runs import read_events
from tests.conftest import hum, write_wav

WINDOW, HOP = 9.984, 0.992  # seconds
PROMISE = "1 % of normal windows score higher"


def start(machine="fan"):
    return {
        "event": "start",
        "time": "2024-05-01T10:00:00+00:00",
        "bundle": "bundle",
        "machine": machine,
        "threshold": 1.31,
        "promise": PROMISE,
        "window_s": WINDOW,
        "hop_s": HOP,
        "source": "fan.wav",
    }


def recording(at=0.0, source="fan.wav"):
    return {"event": "recording", "at_s": at, "source": source}


def window(begin, score, faults=()):
    return {
        "event": "window",
        "start_s": begin,
        "end_s": begin + WINDOW,
        "score": score,
        "decision": None if score is None else score > 1.31,
        "state": "normal",
        "level_dbfs": None if score is None else -31.2,
        "clipped": 0.0,
        "faults": list(faults),
    }


def switch(level, at, score=2.0, kind="anomaly", machine="fan"):
    raised = {"cause": "return", "state": "normal", "before": "unacknowledged"}
    if level != "normal":
        raised = {"cause": "raise", "state": "unacknowledged", "before": "normal"}
    told = {"event": "alarm", "machine": machine, "kind": kind, "level": level, "who": "auscult", "why": ""}
    return {**told, **raised, "at_s": at, "since_s": at - 5.0, "score": score}


def end(seconds):
    return {"event": "end", "seconds": seconds, "windows": 0, "unfit": 0, "alarms": 0, "lost_samples": 0}


def windows(scores, begin=0.0):
    return [window(begin + i * HOP, score, () if score is not None else ["silence"]) for i, score in enumerate(scores)]


SILENT = [start(), recording(), *windows([1.0, 1.1, None, None, 1.2, 1.0]), end(15.0)]
FAULTY = [
    start(),
    recording(),
    *windows([1.0] * 20 + [1.5, 1.9, 2.4, 2.8]),
    switch("alarm", 32.8),
    end(33.0),
]


def listening(events, **given):
    return Listening(**{"machine": "fan", "threshold": 1.31, "promise": PROMISE, "events": events, **given})


ROW = Row(
    machine="fan",
    methods=[
        Method("no network", Interval(0.8812, 0.83, 0.93), Interval(0.7134, 0.65, 0.77)),
        Method("network, FP32", Interval(0.9312, 0.88, 0.97), Interval(0.8121, 0.74, 0.88)),
        Method("network, INT8", Interval(0.9298, 0.87, 0.96), Interval(0.8055, 0.73, 0.87)),
    ],
    train_clips=990,
    test_normal=101,
    test_anomaly=102,
    gain=Interval(0.0486, 0.0121, 0.0832),
    gain_pauc=Interval(0.0921, -0.0311, 0.2111),
    int8_change=-0.0014,
    spearman=0.9941,
    listened=True,
    seconds_to_alarm=12.8,
    false_alarms=2,
)
FACTS = Facts(
    data="simulated, seed 7",
    machines=4,
    model="featex",
    parameters=5_384_000,
    macs=798_000_000,
    window_s=WINDOW,
    hop_s=HOP,
    created="2024-05-01T10:00:00+00:00",
    commit="23aabc8",
    versions={"torch": "2.13.0"},
    command="make demo",
)


@pytest.fixture
def write(tmp_path):
    """Write a page -> its text."""

    def written(page):
        write_report(tmp_path / "report.html", page)
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return written


def as_text(html):
    """What a reader sees, without tags and with single spaces."""
    visible = re.sub(r"<(style|script)\b.*?</\1>", " ", html, flags=re.S)
    return " ".join(re.sub(r"<[^>]*>", " ", visible).split())


def full_page():
    sound = hum(33.0)
    run = listening(FAULTY, fault_at_s=20.0, audio=sound, seconds_to_alarm=12.8, false_alarms=2)
    return Page("From recordings to an alarm", FACTS, [ROW], [run, listening(SILENT)])


def test_the_page_holds_each_figure(write):
    text = as_text(write(full_page()))
    for figure in ["0.93 (0.88–0.97)", "0.93 (0.87–0.96)", "0.88 (0.83–0.93)", "0.81 (0.73–0.87)", "0.71 (0.65–0.77)"]:
        assert figure in text
    for figure in ["+0.049 (+0.012 to +0.083)", "+0.092 (−0.031 to +0.211)", "AUC −0.001", "Spearman 0.994"]:
        assert figure in text
    for figure in [
        "990 to train; test: 101 normal, 102 anomalous",
        "12.8 s",
        "2 false alarms before it",
        "threshold 1.31",
    ]:
        assert figure in text
    for fact in ["simulated, seed 7", "featex", "5.38 M", "798 M", "9.98 s, 0.99 s", "2024-05-01 10:00 UTC", "23aabc8"]:
        assert fact in text
    assert "torch 2.13.0" in text and "make demo" in text and PROMISE in text
    assert "fault begins at 20 s" in text and "alarm at 32.8 s" in text


def test_what_was_not_scored_is_said(write):
    assert "not scored: silence, 11 s to 13 s" in write(full_page())


def test_the_page_loads_nothing(write):
    html = write(full_page())
    assert not re.search(r"https?:", html, flags=re.I)
    loaded = re.findall(r"""(?:src|href|srcset|action)\s*=\s*["']?([^"'> ]*)""", html)
    loaded += re.findall(r"""url\(["']?([^"')]*)""", html)
    assert loaded and all(target.startswith(("data:", "#")) for target in loaded)
    assert "@import" not in html and "default-src 'none'" in html


def test_names_are_escaped_everywhere(write):
    name = '</script><script>alert("1")</script> & <b>'
    run = listening([start(name), recording(source=name), recording(11.0, name), end(20.0)], machine=name, promise=name)
    html = write(Page(name, Facts(model=name), [Row(name, [Method(name, 0.5, 0.5)])], [run]))
    assert html.count("<script") == 2 and "<b>alert" not in html  # its own script, and the data of its one figure
    assert "alert(" in html and 'alert("' not in html


@pytest.mark.parametrize(
    ("events", "said"),
    [
        (
            [start(), recording(), end(4.0)],
            "No window was judged: there were 4.0 s of sound, and a window needs 9.98 s.",
        ),
        ([start(), recording(), *windows([None] * 3), end(12.0)], "No window had a score"),
        ([start()], "No window was judged"),
        ([], "No window was judged"),
    ],
)
def test_a_run_without_scores_makes_a_page_that_says_so(write, events, said):
    assert said in as_text(write(Page("x", listening=[listening(events, fault_at_s=2.0, audio=hum(4.0))])))


def test_a_page_without_runs_says_so(write):
    assert "No listening run is part of this report." in as_text(write(Page("x")))


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        (Interval(0.05, 0.001, 0.1), "▲ better"),
        (Interval(0.05, 0.0, 0.1), "◆ no difference shown"),
        (Interval(0.05, -0.01, 0.11), "◆ no difference shown"),
        (Interval(-0.05, -0.1, -0.001), "▼ worse"),
        (0.05, "◇ no interval"),
    ],
)
def test_the_network_is_called_better_only_where_the_interval_is_above_zero(write, gain, said):
    text = as_text(write(Page("x", table=[Row("fan", ROW.methods, gain=gain)])))
    assert [mark for mark in "▲◆▼◇" if mark in text] == [said[0]] and said in text


def test_the_headline_counts_where_the_network_is_not_better():
    rows = [Row("a", [], gain=Interval(*bounds)) for bounds in [(0.1, 0.05, 0.2), (0.0, -0.1, 0.1), (-0.1, -0.2, -0.1)]]
    said = words.headline(rows)
    assert "on 1 of 3 machines" in said and "on 1 the 95 % interval" in said and "on 1 it is worse" in said


def test_a_missed_fault_and_a_false_alarm_are_said_plainly(write):
    missed = listening(SILENT, fault_at_s=11.0, false_alarms=1)
    text = as_text(write(Page("x", listening=[missed])))
    assert "No alarm followed: it was missed. 1 false alarm before it." in text
    assert "No alarm followed the fault; 1 false alarm before the fault." in text


def test_long_streams_stay_below_two_megabytes(write):
    random = np.random.default_rng(3)
    noise = random.normal(-50, 6, (18_750, 128)).astype(np.float32)  # ten minutes, the hardest picture to compress
    stream = spectrogram.Spectrogram(noise, np.arange(18_750) * 0.032, np.linspace(50, 7900, 128))
    events = [start(), recording(), *windows(random.gamma(3.0, 0.3, 595).tolist()), end(600.0)]
    html = write(Page("x", listening=[listening(events, audio=stream) for _ in range(4)]))
    assert len(html.encode()) < 2_000_000  # bytes


@pytest.fixture
def heard(packed, tmp_path):
    """A listening run over two files, the second another machine by its sound: options of the command."""
    files = [write_wav(tmp_path / "a.wav", hum(6.0)), write_wav(tmp_path / "b.wav", hum(6.0, pitch=400.0))]
    events = tmp_path / "events.jsonl"
    code = listen(
        ["run", str(packed), "--machine", "fan_section_00", "--on-delay", "1", "--events", str(events), "--file"]
        + [str(file) for file in files]
    )
    assert code == 0
    return {
        "--bundle": [packed],
        "--machine": ["fan_section_00"],
        "--events": [events],
        "--audio": files,
        "--fault-at": [6.0],
        "--out": [tmp_path / "report.html"],
    }


def typed(options):
    return run_command(main, [str(word) for name, values in options.items() for word in [name, *values]])


def test_a_listening_run_becomes_a_page(heard, capsys):
    assert typed(heard) == 0
    assert capsys.readouterr().out == f"{heard['--out'][0]}\n"
    html = heard["--out"][0].read_text()
    text = as_text(html)
    seconds, false = outcome(read_events(heard["--events"][0], "fan_section_00"), 6.0)
    assert seconds is not None and f"The alarm came {seconds:.1f} s later" in text and false == 0
    assert "data:image/png" in html and "made for a test" in text and "fault begins at 6 s" in text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"--machine": ["pump_section_00"]}, "is of machine fan_section_00, not pump_section_00"),
        ({"--machine": ["valve"]}, "unknown machine valve"),
        ({"--events": ["nowhere.jsonl"]}, "nowhere.jsonl: No such file"),
        ({"--audio": ["nowhere.wav"]}, "nowhere.wav: No such file"),
        ({"--fault-at": [-1]}, "--fault-at -1.0: wanted a second of the sound"),
        ({"--out": ["."]}, "already exists"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(heard, capsys, wrong, said):
    capsys.readouterr()
    assert typed(heard | wrong) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not heard["--out"][0].exists()


def test_sound_of_another_length_is_remarked_upon(heard, capsys):
    assert typed(heard | {"--audio": heard["--audio"][:1]}) == 0
    assert "the sound ends at 6.0 s, the run at 12.0 s: is it the same?" in capsys.readouterr().err
