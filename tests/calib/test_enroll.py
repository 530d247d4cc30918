"""A machine that is enrolled on site lies beside its bundle, and belongs to that bundle's model alone."""

import pytest

from calib import enroll
from calib.fit import main as fit
from edge_runtime.bundle import open_bundle
from edge_runtime.cli import run_command
from edge_runtime.errors import BundleError
from edge_runtime.machine_file import load_machine
from tests.conftest import hum, write_wav


@pytest.fixture
def clips(tmp_path):
    """Six clips, as `record` writes them."""
    for number in range(6):
        write_wav(tmp_path / "fan" / "normal" / f"{number:06d}.wav", hum(2, seed=number))
    return tmp_path / "fan"


def test_the_same_clips_give_the_machine_that_the_bundle_was_fitted_with(clips, tmp_path, capsys):
    frames = ("--window-frames", "31", "--hop-frames", "8")
    assert fit(["--no-network", "--data", str(clips), "--out", str(tmp_path / "fan.bundle"), *frames]) == 0
    bundle, out = open_bundle(tmp_path / "fan.bundle"), tmp_path / "fan.npz"
    assert enroll.main([str(bundle.folder), "--data", str(clips), "--out", str(out)]) == 0
    enrolled, fitted = load_machine(out, bundle.model_hash), bundle.machine()
    assert enrolled.threshold == fitted.threshold
    assert (enrolled.scores == fitted.scores).all()
    assert f"threshold {fitted.threshold:.4g}" in capsys.readouterr().out.splitlines()[-1]


def test_it_does_not_open_with_another_model(packed, clips, tmp_path):
    out = tmp_path / "fan.npz"
    assert enroll.main([str(packed), "--data", str(clips), "--out", str(out)]) == 0
    with pytest.raises(BundleError, match=r"fan\.npz: not enrolled with this bundle; enrol it again: calib/enroll"):
        load_machine(out, "0" * 64)
    with pytest.raises(BundleError, match="not enrolled with this bundle"):
        load_machine(packed / "machines" / "fan_section_00.npz", open_bundle(packed).model_hash)


def test_a_bundle_is_never_added_to(packed, clips, capsys):
    out = packed / "machines" / "mine.npz"
    assert run_command(enroll.main, [str(packed), "--data", str(clips), "--out", str(out)]) == 2
    assert "never changes once packed" in capsys.readouterr().err
    assert not out.exists()
