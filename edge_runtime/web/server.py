"""One process, one socket, until it is told to end."""

import asyncio
import contextlib
import errno
import importlib.util
import os
import socket
from pathlib import Path
from typing import Any

from edge_runtime.cli import say
from edge_runtime.errors import ConfigError
from edge_runtime.web import key
from edge_runtime.web.app import Page
from edge_runtime.web.door import Door, is_loopback
from edge_runtime.web.place import Place

PACKAGES = ("starlette", "uvicorn", "prometheus_client")
BACKLOG, CONNECTIONS = 64, 64
ASKED_S = 15.0  # seconds within which a request has come, head and body; then its connection is closed
KEEPALIVE = {
    "TCP_KEEPIDLE": 60,
    "TCP_KEEPINTVL": 20,
    "TCP_KEEPCNT": 3,
}  # seconds, seconds, tries: who is gone is let go
LONGEST_HEAD = 16_384  # bytes of a request's line and headers
NICE = 10  # it gives way to who listens


def serve(place: Place, host: str, port: int, token_file: str | None, names: list[str]) -> int:
    """Until SIGTERM or SIGINT."""
    lacking = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if lacking:
        raise ConfigError(f"serve: {', '.join(lacking)}: not installed; pip install 'auscult[web]'")
    bound = bind(host, port)
    with contextlib.closing(bound):
        import uvicorn

        lock = key.load(Path(token_file) if token_file else place.state / key.FILE)
        port = bound.getsockname()[1]
        page = Page(place, Door(lock, host, port, names))
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
        shown = f"[{host}]" if ":" in host else host
        who = "who acts" if is_loopback(host) and not names else "who reads or acts"
        say(f"http://{shown}:{port}/ shows {place.state}; {who} needs the token in {lock.file}")
        config = uvicorn.Config(
            page.application(),
            http=_impatient(),
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=LONGEST_HEAD,
        )
        server = uvicorn.Server(config)
        try:
            server.run(sockets=[bound])
        except (SystemExit, KeyboardInterrupt):  # told to end, which it tells again when it has
            if not server.should_exit:
                raise
    return 0


def _impatient() -> type[asyncio.Protocol]:
    """uvicorn's HTTP, which by itself waits for ever for who connects and says nothing, or half of something."""
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Impatient(H11Protocol):
        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._unwatch()
            super().connection_lost(exc)

        def _watch(self) -> None:
            """As long as it is the other side's turn."""
            if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
                self._unwatch()
            elif self._late is None and not self.transport.is_closing():
                self._late = self.loop.call_later(ASKED_S, self.transport.abort)

        def _unwatch(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

    return Impatient


def bind(host: str, port: int) -> socket.socket:
    """A socket that nobody listens on yet."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise ConfigError(
            f"--host {host}: no address of this computer; give 127.0.0.1, 0.0.0.0 or one of its own"
        ) from None
    family, kind, protocol, _, address = found[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # those that are accepted have it from here
        for name, value in KEEPALIVE.items():
            bound.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        todo = {
            errno.EADDRINUSE: "somebody listens there already: give another --port",
            errno.EACCES: "ports below 1024 are the system's: give another --port",
            errno.EADDRNOTAVAIL: "it is no address of this computer: give another --host",
        }.get(error.errno or 0, "give another --host or --port")
        raise ConfigError(f"--host {host} --port {port}: {error.strerror}; {todo}") from None
    return bound
