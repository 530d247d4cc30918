"""What is asked of the page, and what it answers, without a web framework: every handler is a function of these."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

LONGEST_BODY = 16_384  # bytes of a request's body
LONGEST_NAME = 255  # bytes of a file's name

JSON = "application/json"


class Asked(msgspec.Struct, frozen=True):
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]  # names in small letters
    names: Mapping[str, str] = {}  # what stands in the path: {machine}, {id}
    query: Mapping[str, str] = {}
    body: bytes = b""
    address: str = ""  # of this computer, that it came to
    who: str = ""  # the person who is signed in; "": nobody is


class Answer(msgspec.Struct, frozen=True):
    """One response."""

    body: bytes = b""
    status: int = 200
    kind: str = JSON
    headers: Mapping[str, str] = {}
    file: Path | None = None  # its content, in place of the body


class Refused(Exception):  # noqa: N818 - an answer, in words
    """It is not done, and this is why."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


Handler = Callable[[Any, Asked], Answer]


def told(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Anything as JSON."""
    return Answer(msgspec.json.encode(value), status, JSON, headers or {})


def nameable(name: str) -> str:
    """The same, where a file can have that name."""
    if len(name.encode(errors="replace")) > LONGEST_NAME:
        raise Refused(404, f"{name[:40]}...: nothing has so long a name")
    return name


def refusal(status: int, words: str) -> Answer:
    """Why not, in words for people."""
    return told({"error": words}, status)
