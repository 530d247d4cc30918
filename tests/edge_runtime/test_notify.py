"""What systemd is told, over real sockets."""

import os
import socket
import time

import pytest

from edge_runtime.listening.notify import Notify


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """A socket as systemd's, and what the environment calls it."""
    name = f"@auscult-{os.getpid()}-{time.monotonic_ns()}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stream:
        stream.bind("\0" + name[1:] if name[0] == "@" else name)
        stream.settimeout(1.0)
        yield stream, name


def test_systemd_is_told_of_the_beginning_the_status_the_watchdog_and_the_end(manager):
    stream, name = manager
    notify = Notify({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())})
    notify.ready()
    notify.status("2 machines,\nnormal")
    notify.status("2 machines, normal")  # the same
    notify.watchdog()
    notify.stopping()
    told = [stream.recv(4096).decode() for _ in range(4)]
    assert told == ["READY=1", "STATUS=2 machines, normal", "WATCHDOG=1", "STOPPING=1"]
    assert notify.watchdog_s == 30.0


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "²"},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
    ],
)
def test_a_watchdog_that_is_not_wanted_is_not_fed(manager, words):
    stream, name = manager
    notify = Notify({"NOTIFY_SOCKET": name, **words})
    notify.watchdog()
    notify.ready()
    assert (notify.watchdog_s, stream.recv(4096)) == (None, b"READY=1")


@pytest.mark.parametrize("name", ["", "/nowhere/notify", "@auscult-nobody", "vsock:2:1234", "/" + "x" * 200])
def test_nobody_to_tell_is_no_error(name):
    notify = Notify({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "1000000"})
    notify.ready()
    notify.watchdog()
    assert notify.watchdog_s == 1.0


def test_a_manager_that_does_not_read_delays_nothing(manager):
    stream, name = manager
    notify = Notify({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "1000000"})
    began = time.monotonic()
    for _ in range(3000):
        notify.watchdog()
    assert time.monotonic() - began < 3.0  # seconds; a socket holds some hundred messages
    assert stream.recv(4096) == b"WATCHDOG=1"


def test_an_endless_status_is_cut(manager):
    stream, name = manager
    Notify({"NOTIFY_SOCKET": name}).status("x" * 100_000)
    assert len(stream.recv(8192)) < 300
