"""What a webhook talks to: one HTTP request, one answer, bounded in time and bytes whatever the other side does."""

import contextlib
import email.utils
import http.client
import io
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edge_runtime.errors import ConfigError
from edge_runtime.outputs.message import Message
from edge_runtime.outputs.settings import WebhookSettings, split_url
from edge_runtime.outputs.worker import OutputError

HEAD_BYTES, BODY_BYTES = 65_536, 4096  # of an answer that are read
BODY_S = 1.0  # seconds for the body, which is only told
SAID_CHARACTERS = 200  # of what it says, that are told
TOKEN_BYTES = 8192


class Answer(msgspec.Struct, frozen=True):
    """What the receiver says."""

    status: int
    reason: str  # "Not Found"
    words: str  # the beginning of its text, where it does not take the message
    retry_after_s: float = 0.0  # seconds that it asks to be left alone
    location: str = ""  # where it redirects to: scheme and host; path and query may hold a secret


class Receiver:
    """The address of a webhook. Whatever goes wrong is an OutputError."""

    def __init__(self, settings: WebhookSettings) -> None:
        self._settings, parts = settings, split_url(settings.url)
        self._secure, self._netloc = parts.scheme == "https", parts.netloc
        self._host, self._port = parts.hostname or "", parts.port or (443 if self._secure else 80)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._context: ssl.SSLContext | None = None
        self._socket: socket.socket | None = None

    def post(self, message: Message) -> Answer:
        """Send it and wait for the answer, for `timeout_s` in all."""
        body = msgspec.json.encode(message)
        headers = {
            **self._settings.headers,
            "Host": self._netloc,
            "Content-Type": "application/json",
            "Idempotency-Key": message.id,
            "Connection": "close",
            **self._authorization(),
        }
        with self._connected(self._settings.timeout_s) as (connected, deadline):
            request = http.client.HTTPConnection(self._host)
            request.sock = connected
            request.request("POST", self._path, body, headers)
            return _answer(connected, deadline)

    def reach(self, within_s: float) -> None:
        """Connect, and shake hands where it is https; nothing is sent."""
        with self._connected(within_s):
            pass

    def abort(self) -> None:
        """End the try that goes on, from another thread."""
        connected = self._socket
        if connected is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connected, socket.SHUT_RDWR)  # of TLS too: that of its own would wait

    def _authorization(self) -> dict[str, str]:
        if self._settings.token_file is None:
            return {}
        try:
            return {"Authorization": f"Bearer {token(self._settings.token_file)}"}
        except ConfigError as error:
            raise OutputError(str(error)) from None

    @contextlib.contextmanager
    def _connected(self, within_s: float) -> Iterator[tuple[socket.socket, float]]:
        """A connection and the monotonic second at which its time is over."""
        deadline = time.monotonic() + within_s
        try:
            self._socket = _dial(self._host, self._port, deadline)
            if self._secure:
                self._context = self._context or trusted(self._settings.ca_file)
                self._socket.settimeout(_left(deadline))
                self._socket = self._context.wrap_socket(self._socket, server_hostname=self._host)
            self._socket.settimeout(_left(deadline))
            yield self._socket, deadline
        except (OSError, http.client.HTTPException, ConfigError) as error:
            self._context = None  # its files may be others by the next time
            raise OutputError(_words(self._settings.place, error, within_s)) from None
        finally:
            if self._socket is not None:
                self._socket.close()
            self._socket = None


def token(file: str) -> str:
    """The one line of a file; a ConfigError says what is wrong with it, and never what is in it."""
    try:
        with Path(file).open("rb") as opened:
            text = opened.read(TOKEN_BYTES).decode("ascii").strip()
    except OSError as error:
        raise ConfigError(f"token_file {file}: {error.strerror}; give a file that this user can read") from None
    except ValueError:
        text = ""
    if not text or not text.isprintable() or " " in text:
        raise ConfigError(f"token_file {file}: wanted one line of ASCII, the token alone; write it anew")
    return text


def trusted(file: str | None) -> ssl.SSLContext:
    """What verifies the receiver's certificate and name: an own CA, or those of the system."""
    try:
        return ssl.create_default_context(cafile=file)
    except ssl.SSLError:
        raise ConfigError(f"ca_file {file}: no certificates in it; give a file in PEM format") from None
    except OSError as error:
        raise ConfigError(f"ca_file {file}: {error.strerror}; give a file that this user can read") from None


def _dial(host: str, port: int, deadline: float) -> socket.socket:
    """The first of its addresses that answers; each has its share of the time."""
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    error = OSError("it has no address")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        connecting = socket.socket(family, kind, protocol)
        try:
            connecting.settimeout(_left(deadline) / (len(addresses) - number))
            connecting.connect(address)
            connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # head and body are two small packets
            return connecting
        except OSError as failure:
            connecting.close()
            error = failure
    raise error


def _answer(connected: socket.socket, deadline: float) -> Answer:
    """Its head, and little of its body where that says why the message is not taken."""
    head, body = _head(connected, deadline)
    taken, deadline = head[9:10] == b"2", min(deadline, time.monotonic() + BODY_S)
    with contextlib.suppress(OSError):
        while not taken and len(body) < BODY_BYTES and (data := _received(connected, deadline)):
            body += data
    response = http.client.HTTPResponse(_Read(head + body))  # type: ignore[arg-type]
    response.begin()
    said = b""
    with contextlib.suppress(http.client.HTTPException, ValueError):
        said = b"" if taken else response.read(BODY_BYTES)
    words = " ".join(said.decode(errors="replace").split())
    retry_after_s = _seconds(response.getheader("Retry-After", ""), response.getheader("Date", ""))
    location = _place(response.getheader("Location", ""))
    return Answer(response.status, _line(response.reason), _line(words), retry_after_s, _line(location))


def _place(url: str) -> str:
    """An address that is given, without user, path and query; "" where it names no host."""
    with contextlib.suppress(ValueError):
        parts = split_url(url)
        return f"{parts.scheme}://{parts.netloc}"
    return ""


def _head(connected: socket.socket, deadline: float) -> tuple[bytes, bytes]:
    """Status and headers, with the empty line after them; what has come of the body."""
    data = b""
    while True:
        head, end, body = data.partition(b"\r\n\r\n")
        if end and head[9:10] != b"1":
            return head + end, body
        if end:  # 1xx: the answer is yet to come
            data = body
            continue
        if len(data) > HEAD_BYTES:
            raise http.client.HTTPException(f"its answer begins with more than {HEAD_BYTES} bytes")
        more = _received(connected, deadline)
        if not more:
            raise http.client.RemoteDisconnected("it closed the connection without an answer")
        data += more


class _Read:
    """Bytes that were read already, as a connection."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _received(connected: socket.socket, deadline: float) -> bytes:
    connected.settimeout(_left(deadline))
    return connected.recv(16_384)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0.0:
        raise TimeoutError
    return left


def _seconds(retry_after: str, date: str) -> float:
    """Retry-After, in seconds or as a date by the receiver's own clock -> seconds from now."""
    if retry_after.strip().isdecimal():
        return float(retry_after[:10])
    with contextlib.suppress(ValueError, TypeError):
        at = email.utils.parsedate_to_datetime(retry_after)
        now = email.utils.parsedate_to_datetime(date)
        return max(0.0, (at - now).total_seconds())
    return 0.0


def _line(words: str) -> str:
    """What can be printed of it, and little of that."""
    return "".join(letter for letter in words if letter.isprintable())[:SAID_CHARACTERS]


def _words(place: str, error: Exception, within_s: float) -> str:
    if isinstance(error, ConfigError):
        return str(error)
    if isinstance(error, TimeoutError):
        return f"{place} does not answer within {within_s:g} s; see that it is well, messages wait until then"
    if isinstance(error, ssl.SSLCertVerificationError):
        todo = "where it has a CA of its own, give its certificate as ca_file; see that the clock is set"
        return f"{place}: its certificate is not trusted ({error.verify_message}); {todo}"
    why = _line(getattr(error, "strerror", None) or str(error) or type(error).__name__)
    return f"{place} cannot be reached ({why}); see its url and the network, messages wait until then"
