"""What several tests share: sound, small bundles, and where the real recordings lie."""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy: small products stall on more threads

import numpy as np
import pytest
import soundfile

from edge_runtime import bundle, config, features, machine_file
from edge_runtime.features import LogMel
from edge_runtime.pooling import Mean
from edge_runtime.scoring import Machine, Nearest, References

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory) -> Iterator[Path]:
    """Features are kept in a folder of the tests' own, never in the home folder."""
    folder: Path = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUSCULT_CACHE", str(folder))
        yield folder


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


def references(points, radii=None) -> References:
    """Points as they are, without whitening."""
    points = np.array(points, np.float32)
    radii = np.ones(len(points)) if radii is None else np.array(radii)
    return References(points, radii.astype(np.float32), np.zeros(0, np.float32), np.zeros((0, 0), np.float32))


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A model folder without a network: two machines, windows of 31 frames, a hop of 8."""
    folder = tmp_path / "model"
    folder.mkdir()
    model = bundle.Model(
        name="mel_mean",
        system="mel_mean",
        inputs={},
        outputs={},
        beside={"log_mel": LogMel()},
        poolings={"embedding": Mean()},
        window=SHORT,
        hop=8 * 512,
        scoring=Nearest(metric="euclidean", references="windows"),
    )
    config.save_json(folder / bundle.MODEL, model)
    random = np.random.default_rng(1)
    sounds = [features.log_mel(hum(1.1, seed)[:SHORT], LogMel()).mean(0) for seed in range(6)]
    for name in ("fan_section_00", "pump_section_00"):
        machine = Machine(
            name=name,
            scoring=model.scoring,
            fitted=[references(sounds)],
            location=np.zeros(1),
            scale=np.ones(1),
            threshold=12.0,
            promise="made for a test",
            scores=random.random(8).astype(np.float32),
            normal_level=np.mean(sounds, axis=0),
            normal_spread=np.std(sounds, axis=0),
            normal_spectra=np.stack(sounds),
            normal_rest=np.std(sounds, axis=0),
        )
        machine_file.save_machine(folder / bundle.MACHINES / f"{name}.npz", machine)
    return folder


@pytest.fixture
def packed(model_folder: Path, tmp_path: Path) -> Path:
    """The same as a bundle, golden clip and all."""
    from calib.golden import write_golden

    write_golden(model_folder)
    bundle.write_bundle(model_folder, tmp_path / "bundle")
    return tmp_path / "bundle"


# A wav2vec 2.0 that tests can wait for: 320 samples a step, as all have.
TINY_WAV2VEC = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "conv_dim": [8] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip


def save_wav2vec(folder: Path, **changes) -> Path:
    """Random weights, as `save_pretrained` writes them."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    torch.manual_seed(0)
    Wav2Vec2Model(Wav2Vec2Config(**{**TINY_WAV2VEC, **changes})).save_pretrained(folder)
    return folder
