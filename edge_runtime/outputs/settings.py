"""The outputs of a site file: a union that the field `kind` decides."""

import re
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Meta

from edge_runtime.alarm import Kind, Level
from edge_runtime.alarm.words import RANK
from edge_runtime.errors import SettingError

Cause = Literal[
    "raise", "escalate", "ease", "return", "expire",
    "acknowledge", "reset", "silence", "shelve", "unshelve", "out_of_service", "in_service",
]  # fmt: skip
Seconds = Annotated[float, Meta(gt=0.0, le=3600.0)]
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110: what the name of a header is made of
OURS = ("authorization", "connection", "content-length", "content-type", "host", "idempotency-key", "transfer-encoding")


class Common(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which alarms an output acts on."""

    level: Literal["warning", "alarm"] = "alarm"  # the least level that it acts on
    kinds: Annotated[tuple[Kind, ...], Meta(min_length=1)] = ("anomaly", "not_listening")  # of alarms that it acts on

    def meant(self, kind: Kind, level: Level) -> bool:
        """Whether an alarm of that kind and level is for this output."""
        return kind in self.kinds and RANK[level] >= RANK[self.level]


class RelaySettings(Common, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="relay"):
    """A line of a GPIO chip: energised while all is well."""

    chip: str  # device file: /dev/gpiochip0
    line: int | str  # its offset on the chip, counted from 0, or its name
    active_low: bool = False  # True: the relay is energised by 0 volts
    deadman_s: Seconds = 10.0  # seconds without a sign of life of the listening loop, then it drops


class SoundSettings(Common, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="sound"):
    """A sound, over and over while an alarm is neither acknowledged nor silenced."""

    file: str  # WAV, PCM, 60 s at most
    device: str = ""  # PortAudio's name or part of it; "": the default loudspeaker
    pause_s: Annotated[float, Meta(ge=0.0, le=60.0)] = 1.0  # seconds of silence between one time and the next


class CommandSettings(Common, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="command"):
    """A program, run at changes of an alarm; a shelf that ends while the cause is there counts as a raise."""

    command: str  # split into words, run without a shell
    on: Annotated[tuple[Cause, ...], Meta(min_length=1)] = ("raise", "escalate", "return")  # causes of changes
    timeout_s: Seconds = 30.0  # seconds it may take, then it is killed with all that it started


class WebhookSettings(Common, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="webhook"):
    """An address that is sent changes of an alarm as JSON, in order, again and again until it takes them."""

    url: str  # http or https; redirects are not followed, no proxy is asked
    on: Annotated[tuple[Cause, ...], Meta(min_length=1)] = (  # all that change a state: a copy of it must stay true
        "raise", "escalate", "ease", "return", "expire",
        "acknowledge", "reset", "shelve", "unshelve", "out_of_service", "in_service",
    )  # fmt: skip
    token_file: str | None = None  # its one line is sent as Bearer token; read at each try, so that it can be changed
    ca_file: str | None = None  # PEM: certificates that are trusted instead of the system's
    headers: Annotated[dict[str, str], Meta(max_length=8)] = {}  # sent too; no secrets: the site file is read by many
    timeout_s: Annotated[float, Meta(ge=0.1, le=60.0)] = 10.0  # seconds of one try, from the connection to the answer
    queue: Annotated[int, Meta(ge=2, le=10_000)] = 1000  # messages that wait, then the oldest goes

    @property
    def place(self) -> str:
        """The address without path and query, which may hold a secret."""
        parts = split_url(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def __post_init__(self) -> None:
        split_url(self.url)
        for name, value in self.headers.items():
            if not TOKEN.fullmatch(name) or not value.isascii() or not value.isprintable():
                raise SettingError(f"headers: {name!r}: {value!r}: wanted a name and printable ASCII, in one line")
            if name.lower() in OURS:
                instead = "give token_file" if name.lower() == "authorization" else "leave it out"
                raise SettingError(f"headers: {name} is written by the webhook itself; {instead}")


Settings = RelaySettings | SoundSettings | CommandSettings | WebhookSettings


def split_url(url: str) -> SplitResult:
    """The parts of a webhook's address; a SettingError says what is wrong with it, without its path or query."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
        (host or "").encode("idna")  # as who looks it up does
    except ValueError as error:
        raise SettingError(f"url: {error}; write it as https://host:port/path") from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise SettingError("url: wanted http or https and a host; write it as https://host:port/path")
    if not url.isascii() or not url.isprintable() or " " in url or parts.fragment:
        raise SettingError("url: wanted ASCII without spaces and without #; write other letters as %XX, a host as xn--")
    if "@" in parts.netloc:
        raise SettingError("url: a password has no place in a site file; give token_file")
    return parts
