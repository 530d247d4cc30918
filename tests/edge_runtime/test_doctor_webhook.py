"""The doctor and a webhook: whether the receiver can be reached, and nothing is sent without --fire."""

# ruff: noqa: F811 - fixtures that are imported

import socket
import threading
import time

import pytest

from edge_runtime.doctor import outputs, webhook
from tests.edge_runtime import receivers
from tests.edge_runtime.patients import patient, site, states, words
from tests.edge_runtime.receivers import Bad, Inbox, certified, closing, free_port, inbox  # noqa: F401 - fixtures


def found(packed, settings, fire=False, **changes):
    return list(outputs.outputs(patient(site(packed, {"shift": settings}, **changes), fire=fire)))


def test_a_receiver_that_answers_is_well_and_hears_nothing(packed, inbox, tmp_path):
    box = tmp_path / "outbox" / "shift"
    box.mkdir(parents=True)
    (one,) = found(packed, receivers.settings(inbox.url), state=str(tmp_path))
    assert one.state == "ok" and one.seen.endswith(f":{inbox.port}: answers; nothing waits") and not inbox.messages
    (box / "0000000001-0-00000000.json").touch()
    assert found(packed, receivers.settings(inbox.url), state=str(tmp_path))[0].seen.endswith("1 messages wait")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:{port}/x?key=secret", "cannot be reached (Connection refused)"),
        ("http://no-such-host.invalid/", "cannot be reached (Name or service not known|No address|Temporary failure)"),
    ],
)
def test_a_receiver_that_cannot_be_reached_fails_and_says_what_to_do(packed, url, words, tmp_path):
    (one,) = found(packed, receivers.settings(url.format(port=free_port())), state=str(tmp_path))
    assert (one.state, one.todo) == ("fail", "see its url and the network, messages wait until then")
    assert words.partition("(")[0] in one.seen and "secret" not in one.seen


def test_a_certificate_is_looked_at(packed, closing, tmp_path):
    ca, context = certified(tmp_path)
    inbox = closing(Inbox(context=context))
    (well,) = found(packed, receivers.settings(inbox.url, ca_file=str(ca)), state=str(tmp_path))
    assert well.state == "ok" and "its certificate is trusted" in well.seen
    (bad,) = found(packed, receivers.settings(inbox.url), state=str(tmp_path))
    assert bad.state == "fail" and "give its certificate as ca_file" in bad.todo


def test_one_that_hangs_or_a_name_that_nobody_answers_takes_little_time(packed, closing, tmp_path, monkeypatch):
    began = time.monotonic()
    hanging = closing(Bad(receivers.hang)).url.replace("http", "https")
    (one,) = found(packed, receivers.settings(hanging, timeout_s=0.5), state=str(tmp_path))
    assert one.state == "fail" and "does not answer within 0.5 s" in one.seen
    asked = threading.Event()

    def nobody(*_, **__):
        asked.wait(30.0)
        raise socket.gaierror("nobody answered")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    (one,) = found(packed, receivers.settings("http://slow.example/", timeout_s=0.5), state=str(tmp_path))
    assert one.state == "fail" and "its name is not found within 0.5 s" in one.seen
    assert time.monotonic() - began < 5.0
    asked.set()


def test_a_secret_that_others_can_read_and_a_queue_without_a_folder_are_warned_of(packed, inbox, tmp_path, monkeypatch):
    token = tmp_path / "token"
    token.write_text("hush-hush")
    token.chmod(0o644)
    monkeypatch.setattr(webhook, "LOOPBACK", ())
    said = found(packed, receivers.settings(inbox.url, token_file=str(token)))
    assert states(said) == ["ok", "warn", "warn", "warn"]
    for part in ("goes over the network as plain text", f"chmod o-r {token}", "a restart forgets"):
        assert part in words(said)
    assert "hush-hush" not in words(said)
    token.chmod(0o640)
    monkeypatch.undo()
    assert states(found(packed, receivers.settings(inbox.url, token_file=str(token)), state=str(tmp_path))) == ["ok"]


def test_fire_sends_an_alarm_and_its_end_and_leaves_nothing_in_the_queue(packed, inbox, tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "FIRE_S", 0.1)
    said = found(packed, receivers.settings(inbox.url), fire=True, state=str(tmp_path / "state"), name="pump house")
    assert states(said) == ["ok", "ok"] and said[-1].seen.endswith("it takes messages; it was fired")
    told = [(one["site"], one["change"]["machine"], one["change"]["cause"]) for one in inbox.messages]
    assert told == [("pump house", "doctor", "raise"), ("pump house", "doctor", "return")]
    assert not (tmp_path / "state").exists()


def test_fire_finds_a_receiver_that_refuses(packed, inbox, tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "FIRE_S", 0.1)
    inbox.answers = [(401, {}, b"")] * 9
    said = found(packed, receivers.settings(inbox.url), fire=True, state=str(tmp_path))
    assert states(said) == ["ok", "fail"] and "it wants a token" in said[-1].seen
