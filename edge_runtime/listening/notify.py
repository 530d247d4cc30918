"""Tells systemd how the service fares (`Type=notify`), without a library: one datagram a message, see sd_notify(3).

Without NOTIFY_SOCKET nobody is told. Nothing here waits or raises: a service manager that does not read is its own
problem, and a lost "WATCHDOG=1" is followed by the next.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

LONGEST = 200  # characters of a status


class Notify:
    """The socket of the service manager, if there is one."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self.watchdog_s = _watchdog_s(environment)  # seconds within which watchdog() is wanted; None: it is not
        self._status = ""

    def ready(self) -> None:
        """Listening has begun."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line that `systemctl status` shows; the same line is sent once."""
        line = " ".join(text.split())[:LONGEST]
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def watchdog(self) -> None:
        """A window was scored or judged unfit: alive is not enough."""
        if self.watchdog_s is not None:
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as stream:
            stream.setblocking(False)
            stream.sendto(message.encode(errors="replace"), self._address)


def _address(name: str) -> bytes | None:
    """A path, or "@" and an abstract name; anything else (vsock:) is not for a service on this machine."""
    if not name.startswith(("/", "@")):
        return None
    return os.fsencode("\0" + name[1:] if name[0] == "@" else name)


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Of WATCHDOG_USEC, where it is meant for this process."""
    microseconds, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not (microseconds.isascii() and microseconds.isdigit()) or int(microseconds) == 0:
        return None
    if pid and pid != str(os.getpid()):
        return None
    return int(microseconds) / 1e6
