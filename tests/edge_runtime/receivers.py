"""Receivers of webhooks on loopback: a real HTTP server, with or without TLS, and sockets that behave badly."""

import contextlib
import itertools
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from edge_runtime.outputs import webhook as webhook_module
from edge_runtime.outputs.outbox import Outbox
from edge_runtime.outputs.receiver import Receiver
from edge_runtime.outputs.settings import WebhookSettings
from edge_runtime.outputs.webhook import Courier, Webhook
from tests.edge_runtime.telling import told, until

CAUSES = ("raise", "acknowledge", "ease", "escalate", "return")


class Inbox:
    """An HTTP server that keeps what it is sent; `answers` are given one after another, then 200."""

    def __init__(self, port=0, context=None):
        self.messages, self.headers, self.paths, self.answers = [], [], [], []
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                inbox.messages.append(body)
                inbox.headers.append(dict(self.headers))
                inbox.paths.append(self.path)
                status, more, words = inbox.answers.pop(0) if inbox.answers else (200, {}, b"")
                if status is None:  # it took the message, and its answer is lost
                    return
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    for name, value in {"Content-Length": str(len(words)), **more}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(words)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._server.handle_error = lambda *_: None  # a client that does not trust it
        self.port = self._server.server_address[1]
        self.url = f"http{'s' if context else ''}://localhost:{self.port}/alarms"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def causes(self):
        return [message["change"]["cause"] for message in self.messages]

    @property
    def ids(self):
        return [message["id"] for message in self.messages]

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class Bad:
    """A socket that takes connections and does with each what a test wants."""

    def __init__(self, act):
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/"
        self.taken, self._act, self._open = 0, act, True
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self):
        with contextlib.suppress(OSError):
            while self._open:
                connection, _ = self._listening.accept()
                self.taken += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection:
            self._act(connection)

    def close(self):
        self._open = False
        self._listening.close()


def whole(connection):
    """All of a request: what is left unread when a socket closes is a reset."""
    data = b""
    while not data.endswith(b"}"):
        data += connection.recv(65_536)


def hang(connection):
    time.sleep(60.0)


def drip(connection):
    """A byte of headers now and then, for ever."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


def flood(connection):
    """Headers without an end, as fast as they go."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Flood: ")
    while True:
        connection.sendall(b"x" * 65_536)


def pour(connection):
    """A good answer with a body without an end."""
    whole(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65_536)


def dally(connection):
    """A good answer whose body does not come."""
    whole(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
    time.sleep(60.0)


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def leave(connection):
    whole(connection)


def mumble(connection):
    whole(connection)
    connection.sendall(b"220 mail.example.org ESMTP\r\n\r\n")


def free_port():
    """One that nobody listens at, now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def settings(url, **changes):
    return WebhookSettings(url=url, **{"timeout_s": 1.0, **changes})


def certified(folder):
    """A CA of the test's own and a server for localhost that it certified -> (the CA's file, the server's context)."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl program: nobody makes a certificate for the test")

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    (folder / "san").write_text("subjectAltName=DNS:localhost\nauthorityKeyIdentifier=keyid\n")
    of_ca = ("-subj", "/CN=plant CA", "-addext", "keyUsage=critical,keyCertSign")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", *of_ca)
    openssl("req", *key, "-keyout", "key.pem", "-out", "csr.pem", "-subj", "/CN=localhost")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "san")
    openssl("x509", "-req", "-in", "csr.pem", *signing, "-out", "cert.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return folder / "ca.pem", context


@pytest.fixture
def closing():
    """What a test opens is closed."""
    opened = []
    yield lambda one: opened.append(one) or one
    for one in reversed(opened):
        one.close(2.0) if isinstance(one, Webhook) else one.close()


@pytest.fixture
def inbox(closing):
    return closing(Inbox())


@pytest.fixture
def hook(closing, tmp_path):
    """A webhook with a queue on the disk; `settings` of the helper, an address first."""

    def made(url, **changes):
        return closing(Webhook("shift", settings(url, **changes), "pump house", tmp_path / "outbox" / "shift"))

    return made


@pytest.fixture
def soon(monkeypatch):
    """Pauses as long as blinks."""
    monkeypatch.setattr(webhook_module, "PAUSES_S", (0.05,))
    monkeypatch.setattr(webhook_module, "FEED_S", 0.02)
    monkeypatch.setattr("edge_runtime.outputs.worker.PAUSES_S", (0.01,))


def fed(hook, true, seconds=10.0):
    """Feed it, as the loop does, until something is so -> what it said."""
    lines = []

    def look():
        hook.feed(True)
        lines.extend(hook.failures())
        return true()

    until(look, seconds)
    return lines


def messages(count):
    return [told(cause=cause, reason=str(number)) for number, cause in zip(range(count), itertools.cycle(CAUSES))]


class Clock:
    """Stands until a test sets it."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def courier_of(url, clock, receiver=None, folder=None, most=1000, timeout_s=1.0):
    outbox = Outbox(folder, most, print)
    outbox.save()
    receiver = receiver or Receiver(settings(url, timeout_s=timeout_s))
    return Courier(outbox, receiver.post, url, print, clock), outbox
