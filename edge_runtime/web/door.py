"""Who may come in, and who may act.

A page that is bound to loopback and that nobody passes on can be read by who is at this computer (or came through a
tunnel). Everything else takes the token, or the cookie that is had for it. Whoever acts needs it everywhere.
"""

import ipaddress
import socket
from collections.abc import Sequence

from edge_runtime.web.exchange import JSON, Asked, Refused
from edge_runtime.web.key import Key

LOOPBACK = ("localhost", "127.0.0.1", "::1")
PASSED_ON = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")  # a proxy stands in between
SIGN_IN = "sign in first: the token lies in the file page.token of the state folder"


class Door:
    """Asked before anything is done."""

    def __init__(self, key: Key, host: str, port: int, names: Sequence[str] = ()) -> None:
        """`host`: what is bound; `names`: by which others may call this computer, a proxy's too."""
        self.key = key
        self.public = bool(names) or not is_loopback(host)
        own = socket.gethostname().lower()
        self._names = {*LOOPBACK, host.lower(), own, f"{own.split('.')[0]}.local", *(name.lower() for name in names)}
        self.cookie = f"auscult_{port}"  # browsers share cookies between the ports of a computer

    def who(self, asked: Asked) -> str | None:
        """The person who asks; "": a program with the token; None: nobody is known."""
        scheme, _, given = asked.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if not self.key.opens(given):
                raise Refused(401, "this is not the token; see the file page.token of the state folder")
            return ""
        return self.key.who(self._cookie(asked)) or None

    def check(self, asked: Asked, free: bool) -> str:
        """-> who asks, or "". `free`: what is needed to sign in."""
        self._check_host(asked)
        if (
            asked.headers.get("sec-fetch-site", "") == "cross-site"
            and asked.headers.get("sec-fetch-mode") != "navigate"
        ):
            raise Refused(403, "another site's page asked for this")
        if asked.method != "GET":
            self._check_post(asked)
        who = None if free else self.who(asked)
        acts = asked.method != "GET"
        if not free and who is None and (acts or self.public or any(name in asked.headers for name in PASSED_ON)):
            raise Refused(401, SIGN_IN)
        return who or ""

    def _check_host(self, asked: Asked) -> None:
        """A name of another site that leads to this address is not ours: its page would be one origin with it."""
        host = host_of(asked.headers.get("host", ""))
        if host not in self._names and host != asked.address:
            raise Refused(421, f"{host[:80]!r} is not a name of this computer; start with --allow-host {host[:80]}")

    def _check_post(self, asked: Asked) -> None:
        site, origin = asked.headers.get("sec-fetch-site"), asked.headers.get("origin")
        if site not in (None, "same-origin"):
            raise Refused(403, "another site's page asked for this; nothing is done")
        if origin is not None and origin.partition("://")[2].lower() != asked.headers.get("host", "").lower():
            raise Refused(403, f"a page of {origin[:80]} asked for this; nothing is done")
        if asked.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
            raise Refused(415, f"wanted Content-Type: {JSON}; nothing is done")

    def _cookie(self, asked: Asked) -> str:
        for part in asked.headers.get("cookie", "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == self.cookie:
                return value
        return ""


def is_loopback(host: str) -> bool:
    """Does nobody but this computer come in there?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def host_of(header: str) -> str:
    """A Host header without its port, in small letters."""
    host = header.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
