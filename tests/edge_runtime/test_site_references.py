"""Files that a site names beside a bundle: a mistake in one is one line."""

import shutil

import pytest

from edge_runtime import bundle as bundles
from edge_runtime import config
from edge_runtime.bundle import open_bundle
from edge_runtime.errors import ConfigError
from edge_runtime.machine_file import load_machine, save_machine


def test_references_of_another_bundle_say_how_to_enrol(packed, tmp_path):
    bundle = open_bundle(packed)
    save_machine(tmp_path / "fan.npz", bundle.machine("fan_section_00"), "0" * 64)
    with pytest.raises(bundles.BundleError, match=r"enrol it again: calib/enroll\.py BUNDLE --data DATA --out FILE"):
        load_machine(tmp_path / "fan.npz", bundle.model_hash)


def test_half_a_machines_file_is_one_line(packed, tmp_path):
    file = shutil.copy(packed / "machines" / "fan_section_00.npz", tmp_path / "fan.npz")
    whole = file.read_bytes()
    for size in (2, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(bundles.BundleError, match=r"fan\.npz: .*; copy the bundle again"):
            load_machine(file)


def test_a_union_elsewhere_names_its_own_kinds(tmp_path):
    from calib.detectors import Detector

    (tmp_path / "d.yaml").write_text("title: x\npoolings: {a: {kind: mean}}\nscoring: {metric: cosine}\n")
    with pytest.raises(ConfigError, match="scoring: missing field kind; say which: nearest, "):
        config.load_yaml(tmp_path / "d.yaml", Detector)
