"""A webhook's receiver: whether it can be reached, by whom its token can be read, and what waits for it."""

import threading
from collections.abc import Iterator
from pathlib import Path

from edge_runtime.doctor import Finding
from edge_runtime.outputs.open import OUTBOX
from edge_runtime.outputs.settings import WebhookSettings, split_url
from edge_runtime.outputs.worker import OutputError

LONGEST_S = 5.0  # seconds for a connection, TLS and all
LOOPBACK = ("localhost", "127.0.0.1", "::1")
OTHERS = 0o004  # the bit of a file's mode that lets everybody read it


def webhook(name: str, settings: WebhookSettings, state: str | None) -> Iterator[Finding]:
    """Nothing is sent: a connection, and where it is https the certificate."""
    trouble = _reach(settings, min(settings.timeout_s, LONGEST_S))
    if trouble:
        seen, _, todo = trouble.partition("; ")
        yield Finding("output", "fail", f"{name}: {seen}", todo)
    else:
        answers = "answers, and its certificate is trusted" if settings.url.startswith("https") else "answers"
        yield Finding("output", "ok", f"{name}: webhook {settings.place}: {answers}; {_waiting(name, state)}")
    yield from _secrets(name, settings)
    if state is None:
        words = f"{name}: no `state:` is given, so that a restart forgets what is not delivered"
        yield Finding("output", "warn", words, "name a folder in the site file: state: /var/lib/auscult")


def _secrets(name: str, settings: WebhookSettings) -> Iterator[Finding]:
    """The token, on its way and on the disk."""
    if settings.token_file is None:
        return
    parts = split_url(settings.url)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        words = f"{name}: {settings.place}: the token goes over the network as plain text"
        yield Finding("output", "warn", words, "give an https address")
    if Path(settings.token_file).stat().st_mode & OTHERS:
        words = f"{name}: every user of this computer can read {settings.token_file}"
        yield Finding("output", "warn", words, f"chmod o-r {settings.token_file}")


def _reach(settings: WebhookSettings, within_s: float) -> str:
    """What is wrong; "": nothing. A look at a name may take longer than it should, and is then left alone."""
    said: list[str] = []

    def reach() -> None:
        from edge_runtime.outputs.receiver import Receiver

        try:
            Receiver(settings).reach(within_s)
            said.append("")
        except OutputError as error:
            said.append(str(error))

    thread = threading.Thread(target=reach, daemon=True)
    thread.start()
    thread.join(within_s + 1.0)
    return (
        said[0]
        if said
        else f"{settings.place}: its name is not found within {within_s:g} s; see url and /etc/resolv.conf"
    )


def _waiting(name: str, state: str | None) -> str:
    folder = None if state is None else Path(state) / OUTBOX / name
    count = sum(1 for _ in folder.glob("[0-9]*.json")) if folder is not None else 0
    return f"{count} messages wait" if count else "nothing waits"
