"""run, score and record as a user types them: what they tell, what they leave, what they refuse."""

import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from tests.conftest import ROOT, SHORT, hum, write_wav
from tests.edge_runtime.conftest import DELAYS, HOP, of, scores


def test_run_tells_start_recording_windows_and_end(packed, tmp_path, type_in):
    file = write_wav(tmp_path / "a.wav", hum(3, seed=9))
    code, told, err = type_in("run", packed, "--machine", "fan_section_00", "--file", file)
    count = (48_000 - SHORT) // HOP + 1
    assert (code, err) == (0, "")
    assert [event["event"] for event in told] == ["start", "recording", *["window"] * count, "end"]
    start, recording, first, end = told[0], told[1], told[2], told[-1]
    assert (start["machine"], start["threshold"], start["promise"]) == ("fan_section_00", 12.0, "made for a test")
    assert (start["window_s"], start["hop_s"], start["source"]) == (1.024, 0.256, str(file))
    assert recording == {"event": "recording", "at_s": 0.0, "source": str(file), "microphone": "microphone"}
    assert (first["start_s"], first["end_s"], first["state"], first["faults"]) == (0.0, 1.024, "normal", [])
    assert (end["seconds"], end["windows"], end["unfit"], end["lost_samples"], end["error"]) == (3.0, count, 0, 0, None)


def test_the_clock_runs_on_over_files_and_no_window_spans_two(packed, tmp_path, type_in):
    files = [write_wav(tmp_path / f"{name}.wav", hum(1.5, seed)) for seed, name in enumerate("ab")]
    _, told, _ = type_in("run", packed, "--machine", "fan_section_00", "--file", *files)
    assert [event["at_s"] for event in of(told, "recording")] == [0.0, 1.5]
    assert [window["start_s"] for window in of(told, "window")] == [0.0, 0.256, 1.5, 1.756]
    _, alone, _ = type_in("run", packed, "--machine", "fan_section_00", "--file", files[1])
    assert scores(of(told, "window"))[2:] == scores(of(alone, "window"))


def test_a_fault_raises_the_alarm_after_the_delay_and_its_end_clears_it(packed, faulty, type_in):
    _, told, _ = type_in("run", packed, "--file", faulty, *DELAYS)
    alarm, normal = of(told, "alarm")
    assert [(change["cause"], change["level"], change["machine"]) for change in (alarm, normal)] == [
        ("raise", "alarm", "fan_section_00"),
        ("return", "normal", "fan_section_00"),
    ]
    assert "Hz" in alarm["reason"]["words"] == alarm["why"]
    assert 4.0 < alarm["since_s"] <= 4.0 + 1.024 + 0.256  # a window that holds the fault, one hop of waiting
    assert alarm["at_s"] - alarm["since_s"] == pytest.approx(1.024)  # the first whole hop at or after 1 s
    assert 8.0 < normal["since_s"] <= 8.0 + 1.024 + 0.256
    states = {window["end_s"]: window["state"] for window in of(told, "window")}
    for at, state in states.items():
        assert state == ("alarm" if alarm["at_s"] <= at < normal["at_s"] else "normal")
    assert of(told, "end")[0]["alarms"] == 1


def test_another_threshold_is_followed_and_promises_nothing(packed, faulty, type_in):
    _, told, _ = type_in("run", packed, "--file", faulty, *DELAYS, "--threshold", "1e9")
    assert of(told, "alarm") == []
    assert (told[0]["threshold"], told[0]["promise"]) == (1e9, "set by hand, no rate promised")


def test_events_go_to_a_file_and_words_to_stderr(packed, faulty, tmp_path, type_in):
    code, told, err = type_in("run", packed, "--file", faulty, *DELAYS, "--events", tmp_path / "e.jsonl", "-v")
    kept = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()]
    assert (code, told) == (0, [])
    assert len(err.splitlines()) == len(of(kept, "window"))
    assert kept[-1]["event"] == "end"


def test_run_ends_after_so_many_seconds_of_sound(packed, faulty, tmp_path, type_in):
    _, told, _ = type_in("run", packed, "--file", faulty, *DELAYS, "--seconds", 2.5, "--save-audio", tmp_path / "s")
    assert told[-1]["seconds"] == 2.5
    assert soundfile.info(tmp_path / "s" / "000001.wav").frames == 40_000


def test_silence_has_no_score_clipping_is_named_and_the_stream_goes_on(packed, tmp_path, type_in):
    loud = np.clip(hum(2, 1), -0.1, 0.1)
    loud[::100] = 1.0
    file = write_wav(tmp_path / "a.wav", np.concatenate([hum(2, 1), np.zeros(32_000, np.float32), loud, hum(2, 2)]))
    _, told, _ = type_in("run", packed, "--file", file, "--machine", "fan_section_00")
    silent = [window for window in of(told, "window") if "silence" in window["faults"]]
    assert silent
    assert all(window["score"] is None and window["decision"] is None for window in silent)
    assert all(window["level_dbfs"] is None for window in silent)  # digital silence has no level, not the level 0
    clipped = [window for window in of(told, "window") if window["faults"] == ["clipping"]]
    assert clipped
    assert all(window["score"] is not None for window in clipped)
    assert 0.001 < max(window["clipped"] for window in clipped) < 0.1
    partly = [window for window in of(told, "window") if window["score"] is None and window not in silent]
    assert all({"stuck", "gain", "quiet"} & set(window["faults"]) for window in partly)  # silence is a part of each
    assert (told[-1]["unfit"], told[-1]["seconds"]) == (len(silent) + len(partly), 8.0)
    assert of(told, "window")[-1]["faults"] == []


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_scoring_what_was_saved_gives_the_scores_of_the_run(packed, tmp_path, type_in, rate):
    files = [write_wav(tmp_path / f"{name}.wav", hum(3, seed, rate), rate) for seed, name in enumerate("ab")]
    machine = ("--machine", "fan_section_00")
    _, told, _ = type_in("run", packed, "--file", *files, *machine, "--save-audio", tmp_path / "saved")
    _, again, _ = type_in("score", packed, tmp_path / "saved", *machine)
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == ["000001.wav", "000002.wav"]
    assert scores(again) == scores(of(told, "window"))  # exactly: float32 is what the detector was fed


def test_sigterm_ends_a_run_in_order(packed, tmp_path):
    file = write_wav(tmp_path / "a.wav", hum(60))
    words = [sys.executable, "-m", "edge_runtime", "run", packed, "--file", file, "--realtime", *DELAYS]
    process = subprocess.Popen([*words, "--save-audio", tmp_path / "s"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    told = []
    for line in process.stdout:
        told.append(json.loads(line))
        if told[-1]["event"] == "window" and len(of(told, "window")) == 1:
            process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert told[-1]["event"] == "end"
    assert told[-1]["error"] is None
    assert soundfile.info(tmp_path / "s" / "000001.wav").frames == round(told[-1]["seconds"] * 16_000)


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_a_file_needs_no_microphone_library_and_resampling_only_at_another_rate(packed, tmp_path, rate):
    file = write_wav(tmp_path / "a.wav", hum(2, 0, rate), rate)
    words = ["run", str(packed), "--file", str(file), "--machine", "fan_section_00"]
    program = f"import sys; from edge_runtime.__main__ import main; main({words!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert ("soxr" in loaded) == (rate != 16_000)
    assert loaded.isdisjoint({"sounddevice", "onnxruntime", "torch", "scipy", "sklearn", "librosa", "onnx", "yaml"})


def test_score_prints_a_line_for_every_window_of_every_file(packed, tmp_path, type_in):
    write_wav(tmp_path / "d" / "b.wav", hum(1.5, 1))
    write_wav(tmp_path / "d" / "a.wav", hum(2, 2))
    code, told, _ = type_in("score", packed, tmp_path / "d", "--machine", "pump_section_00")
    assert code == 0
    assert [(line["file"][-5:], line["start_s"]) for line in told] == [
        *[("a.wav", 0.256 * hop) for hop in range(4)],
        *[("b.wav", 0.256 * hop) for hop in range(2)],
    ]
    assert {"end_s", "score", "decision", "level_dbfs", "clipped", "faults"} < told[0].keys()


# Bad input


BAD = {
    "no bundle": ("run NOWHERE --file GOOD", "NOWHERE: no such folder"),
    "half-written bundle": ("run HALF --file GOOD", "half-written"),
    "unknown machine": ("run BUNDLE --machine drill --file GOOD", "unknown machine drill; it knows fan_section_00"),
    "no machine": ("score BUNDLE GOOD", "no --machine given"),
    "events exist": ("run BUNDLE --machine fan_section_00 --file GOOD --events GOOD", "--events GOOD: already exists"),
    "sound nowhere": (
        "run BUNDLE --machine fan_section_00 --file GOOD --save-audio GOOD/s",
        "--save-audio GOOD/s: Not",
    ),
    "events nowhere": ("run BUNDLE --machine fan_section_00 --file GOOD --events NOWHERE/e", "--events NOWHERE/e: No"),
    "sound exists": ("run BUNDLE --machine fan_section_00 --file GOOD --save-audio DATA", "--save-audio DATA: already"),
    "no device": (
        "run BUNDLE --machine fan_section_00 --device nobody",
        "nobody: no such microphone; there is pcm:",
    ),
    "no device to record": ("record NOWHERE --device nobody", "nobody: no such microphone"),
    "missing file": ("run BUNDLE --machine fan_section_00 --file NOWHERE", "NOWHERE: No such file"),
    "empty file": ("run BUNDLE --machine fan_section_00 --file GOOD EMPTY", "EMPTY: an empty file"),
    "truncated file": ("score BUNDLE --machine fan_section_00 GOOD CUT", "CUT: truncated"),
    "short file": ("score BUNDLE --machine fan_section_00 GOOD SHORT", "0.500 s of sound, the window is 1.024 s"),
    "short file to run": ("run BUNDLE --machine fan_section_00 --file SHORT", "0.500 s of sound"),
    "no such command": ("run BUNDLE --machine fan_section_00 --file GOOD --command NOWHERE", "no such program"),
    "negative delay": ("run BUNDLE --machine fan_section_00 --file GOOD --on-delay -1", "on_delay_s -1.0"),
    "real time of a microphone": ("run BUNDLE --machine fan_section_00 --realtime", "use them with --file"),
    "out exists": ("record DATA --device left", "OUT DATA: already exists"),
    "too short to record": ("record NOWHERE --device left --seconds 3", "shorter than a clip of 10 s"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_exit_2_and_destroys_nothing(case, packed, tmp_path, type_in, microphone):
    words, said = BAD[case]
    data = tmp_path / "data"
    good = write_wav(data / "good.wav", hum(2))
    (data / "cut.wav").write_bytes(good.read_bytes()[:-100])
    (data / "empty.wav").touch()
    write_wav(data / "short.wav", hum(0.5))
    shutil.copytree(packed, data / "half")
    (data / "half" / "manifest.json").unlink()
    places = {
        "NOWHERE": data / "nowhere",
        "HALF": data / "half",
        "BUNDLE": packed,
        "GOOD": good,
        "EMPTY": data / "empty.wav",
        "CUT": data / "cut.wav",
        "SHORT": data / "short.wav",
        "DATA": data,
    }
    before = {path: path.is_file() and path.read_bytes() for path in sorted(tmp_path.rglob("*"))}
    for name, place in places.items():
        words, said = (text.replace(name, str(place)) for text in (words, said))
    code, told, err = type_in(*words.split())
    assert (code, told) == (2, [])
    assert len(err.splitlines()) == 1
    assert err.startswith("error: ")
    assert said in err
    assert {path: path.is_file() and path.read_bytes() for path in sorted(tmp_path.rglob("*"))} == before
