"""The simulator's files: a data set, a long recording, and what is refused."""

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from calib import clips
from edge_runtime.cli import run_command
from edge_runtime.features import LogMel, log_mel
from train.simulate import machine_like, main, write_dataset, write_stream
from train.simulator import (
    KINDS,
    RATE,
    draw_machine,
)
from train.simulator.clip import layers
from train.simulator.dataset import anomalies, whole_or_not_at_all

SMALL = {"machines": ["fan", "gearbox"], "source": 4, "target": 2, "test": 3, "seconds": 1.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("simulated") / "data", **SMALL, workers=1)


def hashes(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# --------------------------------------------------------------------------------------------------------- the data set


def test_every_anomaly_can_be_made_again_with_its_fault_apart(data):
    found = list(anomalies(data))
    assert len(found) == 12
    for job, row in found:
        written, _ = soundfile.read(data / "dev_data" / row["file_name"])
        own, fault = layers(job)
        gain = np.dot(written, own + fault) / np.dot(own + fault, own + fault)
        np.testing.assert_allclose(written, gain * (own + fault), atol=1.1 / 32_768)  # the last of 16 bits
        assert np.abs(fault).max() > 0


def test_the_data_set_is_one_that_the_index_reads(data):
    found = clips.index(data)
    clips.check(found)
    counts = {
        (split, domain, label): len([c for c in found if (c.split, c.domain, c.label) == (split, domain, label)])
        for split, domain, label in {(c.split, c.domain, c.label) for c in found}
    }
    assert counts == {
        ("train", "source", "normal"): 8,
        ("train", "target", "normal"): 4,
        **{("test", domain, label): 6 for domain in ("source", "target") for label in ("normal", "anomaly")},
    }
    assert {clip.machine for clip in found} == {"fan_section_00", "gearbox_section_00"}
    assert all(soundfile.info(clip.path).subtype == "PCM_16" for clip in found)


def test_the_attribute_file_says_what_the_names_say(data):
    with (data / "dev_data/fan/attributes_00.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file_name", "d1p", "d1v", "d2p", "d2v", "d3p", "d3v"]
    for row in rows:
        assert (data / "dev_data" / row["file_name"]).is_file()
        said = "_".join(row[f"d{i}{part}"] for i in (1, 2, 3) for part in "pv")
        assert row["file_name"].endswith(f"_{said}.wav")


def test_the_domains_differ_in_speed_load_and_noise(data):
    values = {"source": set(), "target": set()}
    for clip in clips.index(data):
        if clip.machine_type == "fan":
            values[clip.domain].add(tuple(clip.attributes.split("_")[1::2]))
    for source, target in zip(zip(*values["source"], strict=True), zip(*values["target"], strict=True), strict=True):
        assert not set(source) & set(target)


def test_train_and_test_normals_are_made_under_the_same_settings(data):
    for domain in ("source", "target"):
        normal = [c for c in clips.index(data) if c.machine_type == "fan" and (c.domain, c.label) == (domain, "normal")]
        train, test = ({c.attributes for c in normal if c.split == split} for split in ("train", "test"))
        assert train == test


def test_the_truth_names_fault_and_severity_of_every_anomaly(data):
    with (data / "truth.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["file_name"].split("/", 1)[0] for row in rows} == {"fan", "gearbox"}
    for row in rows:
        kind = KINDS[row["machine"]]
        if row["label"] == "normal":
            assert (row["fault"], row["severity_db"]) == ("", "")
        else:
            assert row["fault"] in kind.faults and float(row["severity_db"]) in kind.severities_db


def test_the_number_of_processes_does_not_change_a_bit(data, tmp_path):
    assert hashes(write_dataset(tmp_path / "again", **SMALL, workers=2)) == hashes(data)


def test_another_seed_gives_other_machines(data, tmp_path):
    other = hashes(write_dataset(tmp_path / "other", **SMALL | {"machines": ["fan"]}, seed=1, workers=1))
    assert not set(other.values()) & set(hashes(data).values())


def test_a_clip_does_not_depend_on_how_many_there_are(data, tmp_path):
    fewer = write_dataset(tmp_path / "fewer", **SMALL | {"machines": ["fan"], "source": 2, "test": 1}, workers=1)
    sounds = {name: value for name, value in hashes(fewer / "dev_data").items() if name.endswith(".wav")}
    assert len(sounds) == 2 + 2 + 4 and sounds.items() <= hashes(data / "dev_data").items()


def test_sections_are_different_machines(tmp_path):
    out = write_dataset(tmp_path / "two", ["fan"], sections=2, source=1, target=0, test=0, seconds=0.5, workers=1)
    first, second = (machine_like(out / "dev_data/fan", section) for section in ("00", "01"))
    assert draw_machine("fan", first.seed).shaft_hz != draw_machine("fan", second.seed).shaft_hz


# ----------------------------------------------------------------------------------------------------- a long recording


def test_a_written_stream_is_of_the_machine_of_the_data_set(data, tmp_path):
    machine = machine_like(data / "dev_data/gearbox")
    known = write_stream(tmp_path / "long.wav", machine, seconds=6.0, fault_at=3.0, severity_db=0.0, seed=5)
    sound, rate = soundfile.read(tmp_path / "long.wav", dtype="float32")
    assert rate == RATE and sound.shape == (6 * RATE,) and np.abs(sound).max() < 1
    told = json.loads((tmp_path / "long.json").read_text())
    wanted = {"machine": "gearbox", "section": "00", "machine_seed": 0, "seed": 5, "fault": "tooth", "fault_at": 3.0}
    assert wanted.items() <= told.items() and told["severity"] == 0.0 and known.clipped == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.json", "long.wav"]


# ------------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["{there}"], "already exists"),
        (["--stream", "{there}/long.wav", "--like", "{there}"], "simulation.json"),
        (["--stream", "{new}.wav"], "--like"),
        (["--stream", "{new}.wav", "--kind", "toaster"], "toaster"),
        (["--stream", "{new}.wav", "--kind", "fan", "--fault-at", "700"], "--fault-at 700"),
        (["--stream", "{new}.wav", "--kind", "fan", "--fault-at", "3", "--fault", "rust"], "rust"),
        (["--stream", "{new}.wav", "--kind", "fan", "--fault-at", "3", "--fault", "tooth"], "no gear"),
        (["--stream", "{new}.mp3", "--kind", "fan"], ".wav"),
        (["{new}", "--machines", "fan", "toaster"], "toaster"),
        (["{new}", "--source", "0"], "--source 0"),
        (["{new}", "--seconds", "nan"], "--seconds nan"),
        (["{there}/file/below"], "OUT"),
        ([], "OUT"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, word, tmp_path, capsys):
    there = tmp_path / "there"
    there.mkdir()
    (there / "file").write_text("mine")
    code = run_command(main, [text.format(there=there, new=tmp_path / "new") for text in arguments])
    error = capsys.readouterr().err
    assert code == 2 and error.count("\n") == 1 and word in error
    assert [path.name for path in tmp_path.rglob("*")] == ["there", "file"]


def test_what_fails_halfway_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), whole_or_not_at_all(tmp_path / "data") as partial:
        (partial / "half.wav").write_text("")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


# ----------------------------------------------------------------------------------------------------------- difficulty


@pytest.mark.verify
def test_the_default_data_set_is_neither_trivial_nor_hopeless(tmp_path):
    """The time mean of the log-mel, whitened, nearest reference; loudness alone. One to two minutes."""
    from sklearn.covariance import LedoitWolf
    from sklearn.metrics import roc_auc_score

    found = clips.index(write_dataset(tmp_path / "data", test=40))
    aucs: dict[str, list[float]] = {"mel": [], "loudness": []}
    for machine in sorted({clip.machine for clip in found}):
        own = [clip for clip in found if clip.machine == machine]
        means = np.array([log_mel(clips.load(clip), LogMel()).mean(axis=0) for clip in own])
        loudness = np.array([np.std(clips.load(clip)) for clip in own])
        train = np.array([clip.split == "train" for clip in own])
        labels = np.array([clip.label == "anomaly" for clip in own])[~train]
        values, vectors = np.linalg.eigh(LedoitWolf().fit(means[train]).covariance_)
        white = means @ (vectors / np.sqrt(values))
        scores = [np.linalg.norm(white[train] - clip, axis=1).min() for clip in white[~train]]
        aucs["mel"].append(roc_auc_score(labels, scores))
        aucs["loudness"].append(roc_auc_score(labels, loudness[~train]))
    assert all(0.7 < auc < 0.98 for auc in aucs["mel"]), aucs
    assert all(0.35 < auc < 0.7 for auc in aucs["loudness"]), aucs
