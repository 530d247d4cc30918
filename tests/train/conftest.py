"""Clips of 0.7 s, and a run that was trained on them, for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from edge_runtime.cli import run_command
from tests.conftest import ROOT, hum, save_wav2vec, write_wav
from train import run
from train.models import SYSTEMS

FRAMES = 20  # 0.672 s
SHORT = ["--set", f"window_frames={FRAMES}", "--set", "hop_frames=4"]
QUICK = [*SHORT, "--set", "training.batch=8", "--set", "training.workers=0"]
CONFIGS = sorted((ROOT / "train" / "configs").glob("*.yaml"))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Small products stall on more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def recordings(tmp_path_factory) -> Path:
    """Two machines of two speeds: 8 training clips, 4 normal and 4 anomalous test clips each, in DCASE 2023 form."""
    root = tmp_path_factory.mktemp("recordings")
    for machine, (name, pitch) in enumerate((("fan", 60.0), ("pump", 95.0))):
        for at in range(16):
            domain = "target" if at % 2 else "source"
            split, label = ("train", "normal") if at < 8 else ("test", "anomaly" if at >= 12 else "normal")
            sound = hum(0.75, seed=100 * machine + at, pitch=pitch * (1.3 if domain == "target" else 1.0))
            if label == "anomaly":
                sound[::400] += 0.3
            file = f"section_00_{domain}_{split}_{label}_{at:04d}_spd_{domain}.wav"
            write_wav(root / "dev_data" / name / split / file, sound)
    return root


def train(out: Path, recordings: Path, *options: str, config: str = "featex") -> Path:
    file = ROOT / "train" / "configs" / f"{config}.yaml"
    assert run.main([str(file), "--data", str(recordings), "--out", str(out), *QUICK, *options]) == 0
    return out


@pytest.fixture(scope="session")
def trained(tmp_path_factory, recordings) -> Path:
    """A run of 4 epochs."""
    return train(tmp_path_factory.mktemp("runs") / "trained", recordings, "--epochs", "4")


def error(capsys, main, *argv: object) -> str:
    """The one line of a mistake."""
    assert run_command(lambda _: main([str(word) for word in argv])) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("error: ")
    return said[-1]


def tiny(system: str, **changes) -> run.Config:
    return SYSTEMS[system].Config(window_frames=FRAMES, hop_frames=4, **changes)


@pytest.fixture(scope="session")
def sections(tmp_path_factory) -> Path:
    """Two sections of one type under two speeds: 4 training clips each, and a test clip of either label."""
    root: Path = tmp_path_factory.mktemp("sections")
    for section, pitch in (("00", 60.0), ("01", 95.0)):
        for at in range(6):
            part, label = ("train" if at < 4 else "test"), ("anomaly" if at == 5 else "normal")
            name = f"section_{section}_source_{part}_{label}_{at:04d}_spd_{at % 2}.wav"
            write_wav(root / "dev_data" / "fan" / part / name, hum(0.85, seed=at, pitch=pitch))
    return root


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Of a small wav2vec 2.0 with random weights."""
    return save_wav2vec(tmp_path_factory.mktemp("wav2vec"))


def wav2vec_words(data: Path, out: Path, *changes: str) -> list[str]:
    """Options of a short training of paper 2, wav2vec 2.0 alone in the first epoch."""
    small = ["window_frames=24", "hop_frames=4", "training.batch=4", "clips_per_class=2", "training.workers=0"]
    sets = [word for change in (*small, "wav2vec.epochs=1", *changes) for word in ("--set", change)]
    return ["--data", str(data), "--out", str(out), *sets]
