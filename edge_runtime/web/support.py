"""Everything that somebody who helps from afar asks for, in one ZIP: no sound, no token, no password.

Addresses keep scheme, host and port alone, and of the site file commands and files their names. Whatever was taken out
of the site file, and every token that lies beside it, is taken out wherever else it stands.
"""

import contextlib
import io
import re
import shutil
import time
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from edge_runtime import yaml_tree
from edge_runtime.doctor.clock import follows
from edge_runtime.errors import AuscultError
from edge_runtime.journal import Visitor
from edge_runtime.recorder import event as events
from edge_runtime.web import health, key, overview, traces
from edge_runtime.web.exchange import Answer, Asked
from edge_runtime.web.place import Place

HISTORY, NOTICES, EVENTS = 2000, 1000, 200  # rows of each that go in
REMOVED = "(removed)"
SECRET = re.compile(
    r"token|passw|passphrase|secret|credential|authorization|api[-_]?key|private|headers?$", re.IGNORECASE
)
NAMES_ONLY = {"command", "file", "client_key", "client_certificate", "ca"}  # keys whose value says where something lies
URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s\"'<>]+", re.IGNORECASE)
LEAST_SECRET = 4  # characters; what is shorter stands in every text by chance
LEAST_WORD = 8  # characters of a word of a secret, or of a number, that is one by itself
LEAST_PART = 12  # characters of a part of a command or an address that is taken for one
LONGEST_TOKEN = 65_536  # bytes of a token file that are read


def support(place: Place, asked: Asked) -> Answer:
    """POST /api/support."""
    name = time.strftime("auscult-support-%Y%m%dT%H%M%SZ.zip", time.gmtime())
    return Answer(
        dump(place), kind="application/zip", headers={"content-disposition": f'attachment; filename="{name}"'}
    )


def dump(place: Place) -> bytes:
    """The ZIP."""
    site, secrets = _site(place)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in {"site": site, **dict(_parts(place))}.items():
            text = msgspec.json.format(msgspec.json.encode(_scrubbed(value))).decode()
            archive.writestr(f"{name}.json", _without(text, secrets))
    return packed.getvalue()


def _parts(place: Place) -> Iterator[tuple[str, Any]]:
    yield "facts", facts(place)
    try:
        with place.visiting() as visitor:
            yield "sign", visitor.sign()
            yield "alarms", visitor.states()
            yield "machines", visitor.machines()
            yield "history", visitor.history(HISTORY)
            yield "notices", visitor.notices(NOTICES)
            yield "scores", dict(_scores(visitor))
            yield "events", visitor.events(EVENTS)
            yield "manifests", list(_manifests(place.state))
    except AuscultError as error:
        yield "journal", overview.nothing(place, str(error))


def facts(place: Place) -> dict[str, Any]:
    """What can be told without a microphone."""
    packages = {one.metadata["Name"]: one.version for one in metadata.distributions()}
    try:
        usage: Any = shutil.disk_usage(place.state)._asdict()
    except OSError as error:
        usage = str(error)
    return {
        "made": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        "versions": health.versions(),
        "packages": dict(sorted(packages.items())),
        "disk": usage,
        "memory": _lines("/proc/meminfo", 3),
        "load": _lines("/proc/loadavg", 1),
        "up_s": _lines("/proc/uptime", 1),
        "clock_follows_a_time_server": follows(),
        "state_folder": sorted(path.name for path in place.state.glob("*"))[:200],
    }


def _lines(file: str, count: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(file).read_text().splitlines()[:count]
    return []


def _scores(visitor: Visitor) -> Iterator[tuple[str, Any]]:
    beat = visitor.sign().beat
    for one in visitor.machines():
        yield one.machine, {span: traces.over(visitor, one, beat, span) for span in traces.SPANS}


def _manifests(state: Path) -> Iterator[Any]:
    for folder in events.folders(state)[-EVENTS:]:
        with contextlib.suppress(AuscultError):
            yield {"event": events.read(folder), "said": events.said(folder)}


def _site(place: Place) -> tuple[Any, list[str]]:
    """The site file without its secrets, and those secrets."""
    secrets = list(_held(place.state / key.FILE))
    if place.file is None:
        return "no site file was given", secrets
    try:
        tree = yaml_tree.load(place.file, place.file.read_bytes())
    except (AuscultError, OSError):
        return "the site file cannot be read", secrets
    return _cleaned(tree, "", place.file.parent, secrets), secrets


def _cleaned(value: Any, name: str, base: Path, secrets: list[str]) -> Any:
    if name.endswith("_file") and isinstance(value, str):
        secrets += _held(base / Path(value).expanduser()) if SECRET.search(name) else []
        return Path(value).name
    if SECRET.search(name) and not isinstance(value, (dict, list)):
        secrets += [value] if isinstance(value, str) else []
        secrets += [word for word in str(value).split() if len(word) >= LEAST_WORD]
        return REMOVED
    if isinstance(value, dict):  # below a name that tells of a secret every leaf is one
        within = name if SECRET.search(name) else ""
        return {key: _cleaned(one, within or str(key), base, secrets) for key, one in value.items()}
    if isinstance(value, list):
        return [_cleaned(one, name, base, secrets) for one in value]
    if isinstance(value, str):
        secrets += _hidden(value)
    if name in NAMES_ONLY and isinstance(value, str):
        words = value.split()
        secrets += [word for word in words[1:] if len(word) >= LEAST_PART]
        return Path(words[0]).name + (" …" if words[1:] else "") if words else ""
    return value


def _hidden(text: str) -> Iterator[str]:
    """What stands in addresses beside scheme, host and port: users, the path, and each longer part of it."""
    for url in URL.findall(text):
        host, slash, path = url.partition("://")[2].partition("/")
        yield slash + path
        yield from (part for part in re.split(r"[/?&=#]", path) if len(part) >= LEAST_PART)
        yield from host.rpartition("@")[0].split(":")


def _held(file: Path) -> list[str]:
    """The lines of a file that holds a token, and each word of them."""
    try:
        with file.open("rb") as stream:
            text = stream.read(LONGEST_TOKEN).decode(errors="replace")
    except OSError:
        return []
    return [part for line in text.splitlines() for part in (line.strip(), *line.split())]


def _scrubbed(value: Any) -> Any:
    """The same with every address in every text shortened."""
    tree = msgspec.to_builtins(value)
    if isinstance(tree, str):
        return URL.sub(lambda match: address(match[0]), tree)
    if isinstance(tree, dict):
        return {_scrubbed(name): _scrubbed(one) for name, one in tree.items()}
    return [_scrubbed(one) for one in tree] if isinstance(tree, (list, tuple)) else tree


def address(url: str) -> str:
    """Scheme, host and port of a URL; what hooks have for a secret is their path."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return REMOVED
    rest = "/…" if parts.path.strip("/") else parts.path
    return f"{parts.scheme}://{parts.hostname or ''}{port}{rest}"


def _without(text: str, secrets: list[str]) -> str:
    for secret in sorted({one for one in secrets if len(one) >= LEAST_SECRET}, key=len, reverse=True):
        quoted = msgspec.json.encode(secret).decode()[1:-1]
        text = text.replace(quoted, REMOVED)
    return text
