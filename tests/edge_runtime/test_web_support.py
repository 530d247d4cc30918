"""The support dump: what helps, and nothing that is secret."""

import contextlib
import io
import json
import sqlite3
import zipfile

from edge_runtime.__main__ import main
from edge_runtime.cli import run_command
from edge_runtime.web import key
from edge_runtime.web.door import Door
from edge_runtime.web.place import found
from tests.edge_runtime import event_made
from tests.edge_runtime.test_web_figures import place  # noqa: F401 - the fixture

SECRETS = [
    "s3cr3t-token-of-shift",
    "hunter2hunter2",
    "T00000000/B000/XXXXsecret",
    "geheim-im-befehl",
    "abc123querysecret",
    "topic-of-ours",
    "key-of-ours-4712",
    "plain-header-4713",
    "nested-secret-4714",
]
SITE = """
name: pump house
state: state
machines: {fan: {bundle: fan.bundle, microphone: left}}
microphones: {left: {device: "usb:1"}}
outputs:
  shift: {kind: webhook, url: "https://bob:hunter2hunter2@example.org/services/T00000000/B000/XXXXsecret?k=abc123querysecret",
    token_file: keys/shift.token, headers: {Authorization: "Bearer s3cr3t-token-of-shift", X-Shift: plain-header-4713}}
  phone: {kind: webhook, url: "https://ntfy.sh/topic-of-ours", X-Api-Key: key-of-ours-4712,
    credentials: {left: [{deep: nested-secret-4714}]}}
  mail: {kind: command, command: "/opt/bin/mail-shift --password geheim-im-befehl"}
"""


def test_a_support_dump_has_what_helps_and_neither_secrets_nor_sound(place, tmp_path):  # noqa: F811
    (tmp_path / "site.yaml").write_text(SITE)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/shift.token").write_text("filed-token-4711\n")
    token = Door(key.load(place.state / key.FILE), "127.0.0.1", 1).key.file.read_text().strip()
    event_made.make(place.state)
    with contextlib.closing(sqlite3.connect(place.state / "journal.db", isolation_level=None)) as db:
        for words in [
            f"https://bob:hunter2hunter2@example.org/services/{SECRETS[2]}: 403",
            "sent filed-token-4711, plain-header-4713, nested-secret-4714",
            "POST /topic-of-ours at https://ntfy.sh/topic-of-ours: 403, s3cr3t-token-of-shift",
            token,
        ]:
            db.execute("INSERT INTO notices (time, about, words) VALUES ('', 'output shift', ?)", [words])
    out = tmp_path / "help.zip"
    assert run_command(main, ["support", str(tmp_path / "site.yaml"), "--out", str(out)]) == 0
    with zipfile.ZipFile(io.BytesIO(out.read_bytes())) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    whole = "\n".join(parts.values())
    for secret in [*SECRETS, "filed-token-4711", token, "bob"]:
        assert secret not in whole, secret
    assert {"site.json", "facts.json", "history.json", "notices.json", "scores.json", "manifests.json"} <= set(parts)
    assert '"command": "mail-shift' in parts["site.json"] and '"token_file": "shift.token"' in parts["site.json"]
    assert all(json.loads(part) is not None for part in parts.values())
    assert "https://example.org/" in parts["site.json"] and "https://ntfy.sh/" in parts["notices.json"]
    assert "pump house" in parts["site.json"]
    assert event_made.WORDS in parts["manifests.json"] and '"numpy"' in parts["facts.json"]
    assert not any(name.endswith((".flac", ".png", ".db")) for name in parts)
    assert run_command(main, ["support", str(tmp_path / "site.yaml"), "--out", str(out)]) == 2  # nothing is overwritten


def test_a_site_file_with_a_mistake_in_its_midst_still_has_a_page(tmp_path):
    (tmp_path / "site.yaml").write_text(SITE.replace("bundle: fan.bundle", "bundel: oops"))
    assert found(str(tmp_path / "site.yaml")).name == "pump house"
    assert found(str(tmp_path / "site.yaml")).state == tmp_path / "state"
