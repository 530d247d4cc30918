"""What several tests share: sound, small bundles, and where the real recordings lie."""

import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy: small products stall on more threads

import numpy as np
import pytest
import soundfile

from edge_runtime import bundle, config, features
from edge_runtime.features import LogMel
from edge_runtime.scoring import Machine, Scoring

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real recordings; a test that needs it is skipped where it is not."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"needs the real recordings in {SHARED}/data")
    return SHARED


def hum(seconds: float, seed: int = 0, rate: int = 16_000, pitch: float = 49.0) -> np.ndarray:
    """[samples] float32: harmonics in noise, with every sample exact in 16 bits."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    sound = 0.1 * np.sin(2 * np.pi * pitch * time + random.uniform(0, 6)) + 0.03 * random.standard_normal(len(time))
    return (np.round(np.clip(sound, -0.99, 0.99) * 32_768) / 32_768).astype(np.float32)


def write_wav(path: Path, sound: np.ndarray, rate: int = 16_000) -> Path:
    """A 16-bit WAV file, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, rate, subtype="PCM_16")
    return path


SHORT = features.samples_of(31, LogMel())  # 1.024 s: a window that tests can wait for


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A model folder without a network: two machines, windows of 31 frames, a hop of 8."""
    folder = tmp_path / "model"
    folder.mkdir()
    model = bundle.Model(
        name="mel_mean",
        system="mel_mean",
        inputs={"log_mel": LogMel()},
        outputs={"embedding": [128]},
        window=SHORT,
        hop=8 * 512,
        scoring=Scoring(metric="euclidean", centroids=0),
    )
    config.save_json(folder / bundle.MODEL, model)
    random = np.random.default_rng(1)
    sounds = [features.log_mel(hum(1.1, seed)[:SHORT], LogMel()).mean(0) for seed in range(6)]
    for name in ("fan_section_00", "pump_section_00"):
        machine = Machine(
            name=name,
            scoring=model.scoring,
            threshold=12.0,
            promise="made for a test",
            scores=random.random(8).astype(np.float32),
            references=np.array(sounds, np.float32),
            radii=np.ones(len(sounds), np.float32),
            mean=np.zeros(0, np.float32),
            whitening=np.zeros((0, 0), np.float32),
            normal_level=np.mean(sounds, axis=0),
            normal_spread=np.std(sounds, axis=0),
        )
        bundle.save_machine(folder / bundle.MACHINES / f"{name}.npz", machine)
    return folder


@pytest.fixture
def packed(model_folder: Path, tmp_path: Path) -> Path:
    """The same as a bundle, golden clip and all."""
    from calib.golden import write_golden

    write_golden(model_folder)
    bundle.write_bundle(model_folder, tmp_path / "bundle")
    return tmp_path / "bundle"
