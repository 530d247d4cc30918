"""`record` and `devices`: the commands that do nothing but capture."""

import json

import numpy as np
import soundfile

from edge_runtime.__main__ import main
from tests.conftest import hum, write_wav
from tests.edge_runtime.sound_server import NEEDED

LEFT = ("--device", "USB Audio: left", "--channel", 1, "--clip-seconds", 1)


def test_record_makes_a_folder_of_whole_clips_none_of_which_spans_a_gap(microphone, tmp_path, type_in):
    code, _, err = type_in("record", tmp_path / "out", *LEFT, "--clips", 3)
    clips = sorted((tmp_path / "out").rglob("*.*"))
    assert code == 0
    assert [str(clip.relative_to(tmp_path)) for clip in clips] == [f"out/normal/00000{n}.wav" for n in (1, 2, 3)]
    after = 38 * 512
    for clip, start in zip(clips, (0, after, after + 16_000), strict=True):
        assert np.array_equal(soundfile.read(clip, dtype="float32")[0], microphone[start : start + 16_000])
    assert "dBFS" in err
    assert "3 clips" in err
    assert "1 given up" in err


def test_record_goes_on_when_the_microphone_returns_and_no_clip_spans_its_absence(microphone, tmp_path, type_in):
    code, _, err = type_in("record", tmp_path / "out", *LEFT, "--clips", 4)
    assert code == 0
    last = soundfile.read(tmp_path / "out" / "normal" / "000004.wav", dtype="float32")[0]
    assert np.array_equal(last, microphone[:16_000])
    assert "the stream has ended" in err
    assert "heard again after" in err
    assert "4 clips" in err
    assert "2 given up" in err  # at the overflow, and at the end of the stream


def test_record_numbers_on_when_it_appends_and_warns_of_silence(microphone, tmp_path, type_in):
    words = ("record", tmp_path / "out", "--device", "USB Audio: left", "--clip-seconds", 1, "--seconds", 1)
    assert type_in(*words, "--label", "anomaly")[0] == 0
    code, _, err = type_in(*words, "--label", "anomaly")
    assert code == 2
    assert "already exists" in err
    code, _, err = type_in(*words, "--label", "anomaly", "--append")
    assert code == 0
    assert "WARNING: silence" in err  # channel 0 of this microphone is dead
    assert sorted(path.name for path in (tmp_path / "out" / "anomaly").iterdir()) == ["000001.wav", "000002.wav"]
    write_wav(tmp_path / "slow" / "normal" / "000007.wav", hum(1, rate=8_000), 8_000)
    assert "holds clips at 8000 Hz" in type_in("record", tmp_path / "slow", "--append")[2]


def test_devices_are_listed_by_name_with_the_default_marked(microphone, capsys):
    assert main(["devices"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "* pcm:USB Audio: left  2 channels  16000 Hz  (USB Audio: left)",
        "  pcm:USB Audio: right  2 channels  16000 Hz  (USB Audio: right)",
    ]
    assert main(["devices", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(device["name"], device["default"]) for device in found] == [
        ("pcm:USB Audio: left", True),
        ("pcm:USB Audio: right", False),
    ]
    assert found[0].keys() == {"name", "names", "channels", "sample_rate", "portaudio", "default"}


class TestThroughASoundServer:
    pytestmark = NEEDED

    def test_recorded_clips_can_be_scored(self, server, playing, packed, tmp_path):
        words = ("record", tmp_path / "out", "--device", "pulsemic", "--clip-seconds", 1.5, "--clips", 2)
        record = server.auscult(*words)
        err = record.communicate(timeout=30)[1]
        assert record.returncode == 0
        assert err.count("dBFS") == 2
        clips = sorted(path.name for path in (tmp_path / "out" / "normal").iterdir())
        assert clips == ["000001.wav", "000002.wav"]
        score = server.auscult("score", packed, tmp_path / "out", "--machine", "fan_section_00")
        told = [json.loads(line) for line in score.communicate(timeout=30)[0].splitlines()]
        assert len(told) == 4  # two windows of 1.024 s in each clip
        assert all(line["score"] is not None for line in told)

    def test_a_device_that_does_not_exist_is_one_line_in_little_time(self, server, packed):
        run = server.auscult("run", packed, "--device", "nobody", "--machine", "fan_section_00")
        out, err = run.communicate(timeout=10)
        assert (run.returncode, out, len(err.splitlines())) == (2, "", 1)
        assert "nobody: no such microphone" in err
        assert "pulsemic" in err

    def test_devices_are_listed_quietly(self, server):
        devices = server.auscult("devices")
        out, err = devices.communicate(timeout=10)
        assert (devices.returncode, err) == (0, "")  # what ALSA prints about devices that it lacks is kept off
        assert "pcm:pulsemic" in out
