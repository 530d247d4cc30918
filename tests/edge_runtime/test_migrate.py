"""Bundles that an older program packed open today and score as they did."""

import hashlib
import json

import msgspec
import numpy as np
import pytest

from edge_runtime import migrate
from edge_runtime.bundle import load_model, open_bundle
from edge_runtime.machine_file import load_arrays, load_machine, save_machine
from edge_runtime.scoring import Nearest, Network, score

LOG_MEL = {
    "type": "log_mel",
    "sample_rate": 16000,
    "n_fft": 1024,
    "step": 512,
    "n_mels": 128,
    "f_min": 0.0,
    "f_max": 8000.0,
    "floor": 1e-10,
}
MODEL_1 = {
    "name": "mel_mean",
    "system": "mel_mean",
    "inputs": {"log_mel": LOG_MEL},
    "outputs": {"embedding": [128]},
    "window": 16384,
    "hop": 4096,
    "sample_rate": 16000,
    "scoring": {"metric": "euclidean", "whiten": True, "centroids": 0, "neighbours": 4},
    "parameters": 0,
    "macs": 0,
    "trained_on": [],
}


@pytest.fixture
def old(tmp_path):
    """A bundle of format 1, byte for byte as it was written then."""
    (tmp_path / "machines").mkdir()
    random = np.random.default_rng(0)
    settings = {"name": "fan", "scoring": MODEL_1["scoring"], "threshold": 2.0, "promise": "none"}
    np.savez(
        tmp_path / "machines" / "fan.npz",
        settings=np.frombuffer(msgspec.json.encode(settings), np.uint8),
        scores=np.ones(3, np.float32),
        references=random.standard_normal((5, 128)).astype(np.float32),
        radii=np.full(5, 2.0, np.float32),
        mean=np.full(128, -50.0, np.float32),
        whitening=0.1 * np.eye(128, dtype=np.float32),
        normal_level=np.arange(128, dtype=np.float32),
        normal_spread=np.ones(128, np.float32),
    )
    (tmp_path / "model.json").write_text(json.dumps(MODEL_1))
    files = {
        name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("model.json", "machines/fan.npz")
    }
    manifest = {
        "format": 1,
        "version": "0.1.0",
        "created": "2026-01-01T00:00:00+00:00",
        "commit": "",
        "model": MODEL_1,
        "machines": ["fan"],
        "accuracy": {},
        "files": files,
        "digest": "",
    }
    manifest["digest"] = hashlib.sha256(msgspec.json.encode(manifest)).hexdigest()
    (tmp_path / "manifest.json").write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
    return tmp_path


def test_a_bundle_of_format_1_opens_and_scores_as_it_did(old):
    bundle = open_bundle(old)
    assert bundle.model.scoring == Nearest(
        metric="euclidean", whiten=True, references="windows", density=4, density_half=0
    )
    assert list(bundle.model.computed) == ["log_mel"] and not bundle.model.inputs
    machine = bundle.machine()
    points = machine.fitted[0].points
    embedding = points[:1] * 10.0 - 50.0 + 1.0  # at the first reference, and 0.1 away from it in every dimension
    np.testing.assert_allclose(score({"embedding": embedding}, machine), [0.1 * np.sqrt(128) / 2.0], rtol=1e-5)


def test_a_machine_of_format_1_has_one_normal_spectrum(old):
    machine = open_bundle(old).machine()
    np.testing.assert_array_equal(machine.normal_spectra, machine.normal_level[np.newaxis])
    np.testing.assert_array_equal(machine.normal_rest, machine.normal_spread)


def test_a_machine_of_format_2_keeps_all_it_had_and_has_one_normal_spectrum(old):
    machine = open_bundle(old).machine()
    file = old / "fan.npz"
    save_machine(file, machine)
    arrays = load_arrays(file)
    del arrays["normal_spectra"], arrays["normal_rest"]
    settings = msgspec.json.decode(arrays["settings"].tobytes()) | {"format": 2}
    arrays["settings"] = np.frombuffer(msgspec.json.encode(settings), np.uint8)
    np.savez(file, **arrays)
    found = load_machine(file)
    np.testing.assert_array_equal(found.normal_spectra, [machine.normal_level])
    assert (found.scoring, found.threshold) == (machine.scoring, machine.threshold)
    np.testing.assert_array_equal(found.fitted[0].points, machine.fitted[0].points)


def test_a_machine_of_today_keeps_its_normal_spectra(model_folder):
    machine = load_machine(model_folder / "machines" / "fan_section_00.npz")
    assert machine.normal_spectra.shape == (6, 128) and machine.normal_spectra.dtype == np.float32


def test_its_model_is_read_from_the_folder_too(old):
    assert load_model(old) == open_bundle(old).model


def test_a_changed_manifest_of_format_1_is_still_found(old):
    file = old / "manifest.json"
    file.write_text(file.read_text().replace('"fan"', '"fam"'))
    with pytest.raises(Exception, match="changed since it was packed"):
        open_bundle(old)


def test_every_scoring_of_format_1_has_one_of_today():
    told = migrate.model({**MODEL_1, "system": "autoencoder", "scoring": {"metric": "network"}})
    assert msgspec.convert(told["scoring"], Network) == Network()
    told = migrate.model({**MODEL_1, "system": "featex", "scoring": {}})
    assert msgspec.convert(told["scoring"], Nearest) == Nearest(density_half=0)
    assert told["inputs"] == MODEL_1["inputs"]
