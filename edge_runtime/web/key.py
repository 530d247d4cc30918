"""The page's secret: one line in a file that only its owner reads, and the cookies that are derived from it.

A cookie says who acts. It is signed with a key that is derived from the token: it outlives a restart, and dies with the
token. `rm page.token` and a restart sign everybody out.
"""

import base64
import hashlib
import hmac
import os
import secrets
import stat
import time
from pathlib import Path

from edge_runtime.errors import ConfigError

FILE = "page.token"  # in the state folder
SHORTEST = 16  # characters of a token that a person chose
LONGEST_NAME = 60  # characters
DAYS = 30  # that a person stays signed in


class Key:
    """Knows the token, and tells nobody."""

    def __init__(self, file: Path, token: str) -> None:
        self.file, self._token = file, token
        self._key = hmac.digest(token.encode(), b"auscult page: cookies", "sha256")

    def opens(self, given: str) -> bool:
        """Is it the token? As long in saying no as in saying yes."""
        return hmac.compare_digest(_digest(_bare(given)), _digest(_bare(self._token)))

    def cookie(self, who: str) -> str:
        """A person's name, the second it was given, a signature."""
        name = base64.urlsafe_b64encode(who.encode()).decode().rstrip("=")
        said = f"{name}.{int(time.time())}"
        return f"{said}.{self._signature(said)}"

    def who(self, cookie: str) -> str:
        """The name in a cookie of ours; "" for any other."""
        said, _, signature = cookie.rpartition(".")
        if not said.isascii() or not hmac.compare_digest(signature.encode(), self._signature(said).encode()):
            return ""
        name, _, given_s = said.partition(".")
        if time.time() - int(given_s) > DAYS * 86_400:  # a clock that was set back makes none older
            return ""
        return base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode()

    def _signature(self, said: str) -> str:
        return hmac.new(self._key, said.encode(), "sha256").hexdigest()


def load(file: Path) -> Key:
    """The token of a file; where there is none yet, it is made."""
    try:
        token = file.read_text().strip() if file.exists() else _made(file)
        mode = stat.S_IMODE(file.stat().st_mode)
    except (OSError, UnicodeDecodeError) as error:
        words = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(f"{file}: {words}; the page's token lies there: give a place with --token-file") from None
    if len(_bare(token)) < SHORTEST:
        raise ConfigError(f"{file}: a token of fewer than {SHORTEST} characters; remove the file, and one is made")
    if mode & 0o077:
        raise ConfigError(f"{file}: others may read it (mode {mode:o}); chmod 600 {file}")
    return Key(file, token)


def _made(file: Path) -> str:
    """32 letters and digits that nobody guesses, in fours for who types them."""
    letters = base64.b32encode(secrets.token_bytes(20)).decode().lower()
    token = "-".join(letters[first : first + 4] for first in range(0, len(letters), 4))
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as stream:
        stream.write(f"{token}\n")
        stream.flush()
        os.fsync(stream.fileno())
    try:
        os.link(partial, file)  # unlike a rename it never replaces: two pages that begin at once have one token
    except FileExistsError:
        return file.read_text().strip()
    finally:
        partial.unlink()
    return token


def _bare(token: str) -> str:
    """As it is compared: dashes and spaces are for the eye."""
    return "".join(token.split()).replace("-", "")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()
