"""A board with a relay, neither of them real, for the tests of relays."""

import time

import pytest

from edge_runtime.outputs.relay import Relay
from edge_runtime.outputs.settings import RelaySettings
from tests.conftest import ROOT
from tests.edge_runtime.telling import status

FAKE = ROOT / "tests/edge_runtime/fake_gpio"
WELL = [status(), status(kind="not_listening")]


class Board:
    """The folder that stands for it."""

    def __init__(self, folder):
        self.folder = folder

    @property
    def volts(self):
        file = self.folder / "volts"
        return file.read_text() if file.exists() else "floating"

    def fault(self, words):
        (self.folder / "fault.partial").write_text(words)
        (self.folder / "fault.partial").replace(self.folder / "fault")

    def calls(self, words):
        log = self.folder / "log"
        return log.read_text().count(words) if log.exists() else 0


@pytest.fixture
def board(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_GPIO", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(FAKE))
    return Board(tmp_path)


@pytest.fixture
def opened():
    """Relays, closed after the test."""
    relays = []

    def open_relay(judged=True, **changes):
        relays.append(Relay("beacon", RelaySettings(chip="/dev/gpiochip0", line=17, **changes)))
        relays[-1].feed(judged)
        return relays[-1]

    yield open_relay
    for one in relays:
        one.close(1.0)


def feeding(output, seconds, true=lambda: False):
    """The listening loop for a while, or until something is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not true():
        output.feed(True)
        time.sleep(0.02)
