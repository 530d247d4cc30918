"""From a false alarm to a bundle that knows better: recorded, labelled, exported, fitted, listening again."""

import json

import numpy as np

from calib import fit
from edge_runtime.__main__ import main
from edge_runtime.cli import run_command
from edge_runtime.recorder import event
from tests.conftest import hum, write_wav

SITE = """
state: {state}
microphones: {{left: {{}}}}
machines:
  fan: {{bundle: {bundle}, microphone: left, alarm: {{alarm: {{on_delay_s: 2.0, off_delay_s: 2.0}}}}}}
recorder: {{before_s: 5.0, after_s: 20.0, free_mb: 0.0}}
"""
SLOW, FAST, WORN = 49.0, 180.0, 700.0  # Hz: speeds that are both normal, and a fault


def heard(folder, bundle, *pitches):
    """A site of that bundle, for so long as each pitch takes -> at which of them an alarm was raised."""
    site, told = folder / f"{bundle.name}.yaml", folder / f"{bundle.name}-{len(pitches)}.jsonl"
    site.write_text(SITE.format(state=folder / "state", bundle=bundle))
    sound = np.concatenate([hum(40, 100 + number, pitch=pitch) for number, pitch in enumerate(pitches)])
    file = write_wav(folder / "heard.wav", sound)
    assert run_command(main, ["run", str(site), "--file", str(file), "--events", str(told)]) == 0
    events = [json.loads(line) for line in told.read_text().splitlines()]
    return [pitches[int(one["at_s"] // 40)] for one in events if one["event"] == "alarm" and one["cause"] == "raise"]


def fitted(data, bundle):
    assert fit.main(["--no-network", "--data", str(data), "--out", str(bundle)]) == 0
    return bundle


def test_a_false_alarm_that_was_labelled_and_exported_is_none_to_the_next_bundle(tmp_path, capsys):
    data, state = tmp_path / "data", tmp_path / "state"
    for clip in range(12):
        name = f"section_00_source_train_normal_{clip:04d}_.wav"
        write_wav(data / "fan/train" / name, hum(12, clip, pitch=SLOW))
    assert heard(tmp_path, fitted(data, tmp_path / "first"), SLOW, FAST, SLOW) == [FAST]
    (one,) = event.folders(state)
    words = [["label", state, one.name, "normal", "--by", "ann", "--why", "it ran fast"]]
    words += [["export", state, "--out", data, "--append", "--clip-seconds", "12"]]
    for command in words:
        assert run_command(main, ["events", *map(str, command)]) == 0
    new = [file.name for file in data.rglob(f"*event_{one.name}.wav")]
    assert sum("_train_normal_00" in name for name in new) >= 3
    assert "section_00_source_train_normal_0012_event_" in "".join(new)  # numbers go on
    second = fitted(data, tmp_path / "second")
    assert heard(tmp_path, second, SLOW, FAST, SLOW, WORN) == [WORN]
    assert len(event.folders(state)) == 2
    capsys.readouterr()
