"""A live run through a real sound server."""

import json
import signal

import numpy as np
import soundfile

from tests.conftest import hum
from tests.edge_runtime.sound_server import NEEDED

MACHINE = ("--machine", "fan_section_00")
pytestmark = NEEDED


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def windows(told):
    return [event for event in told if event["event"] == "window"]


def test_a_live_run_scores_what_it_saved_and_saves_what_was_played(server, playing, packed, tmp_path):
    saved = tmp_path / "saved"
    run = server.auscult("run", packed, "--device", "pulsemic", *MACHINE, "--save-audio", saved, "--seconds", 4)
    out, err = run.communicate(timeout=30)
    assert (run.returncode, err) == (0, "")
    told = lines(out)
    assert (told[0]["source"], told[-1]["seconds"], told[-1]["lost_samples"]) == ("pulsemic", 4.0, 0)
    score = server.auscult("score", packed, saved, *MACHINE)
    again = lines(score.communicate(timeout=30)[0])
    keys = ("start_s", "end_s", "score", "decision", "level_dbfs", "clipped", "faults")
    assert len(again) == 12
    assert [[window[key] for key in keys] for window in windows(told)] == [
        [line[key] for key in keys] for line in again
    ]
    heard, played = soundfile.read(saved / "000001.wav", dtype="float32")[0], hum(60)
    found = np.flatnonzero(played == heard[-1])  # every sample, bit by bit, as far back as the player goes
    assert any(np.array_equal(played[max(0, end + 1 - 16_000) : end + 1], heard[-16_000:]) for end in found)


def test_sigterm_ends_a_live_run_in_order(server, packed):
    run = server.auscult("run", packed, "--device", "pulsemic", *MACHINE)
    told = [json.loads(run.stdout.readline()) for _ in range(2)]
    run.send_signal(signal.SIGTERM)
    out, err = run.communicate(timeout=10)
    assert [event["event"] for event in told] == ["start", "recording"]
    assert (run.returncode, err, lines(out)[-1]["error"]) == (0, "", None)
