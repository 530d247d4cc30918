"""The webhook: every message arrives, in order, whatever the receiver does; and the listening never waits for it."""

# ruff: noqa: F811 - fixtures that are imported

import json
import time

import pytest

from edge_runtime.errors import ConfigError
from edge_runtime.outputs.message import LONGEST_WORDS, message
from edge_runtime.outputs.open import check_output, open_output
from edge_runtime.outputs.settings import WebhookSettings
from edge_runtime.outputs.worker import OutputError
from tests.edge_runtime.receivers import (  # noqa: F401 - fixtures
    Bad,
    Clock,
    Inbox,
    closing,
    courier_of,
    fed,
    free_port,
    hook,
    inbox,
    messages,
    soon,
    whole,
)
from tests.edge_runtime.telling import said, status, told, until

# What is sent


def test_a_change_arrives_with_all_that_is_known_of_it(hook, inbox):
    shift = hook(inbox.url + "?site=7", headers={"X-Plant": "7"})
    shift.update([told()], [status("unacknowledged")])
    until(lambda: inbox.messages)
    (sent,), (headers,) = inbox.messages, inbox.headers
    assert sent.pop("queued").startswith("20") and len(sent["id"]) == 32
    assert headers["Idempotency-Key"] == sent.pop("id")
    assert (headers["X-Plant"], headers["Content-Type"], inbox.paths) == ("7", "application/json", ["/alarms?site=7"])
    assert sent == {
        "change": {
            "machine": "fan", "kind": "anomaly", "before": "normal", "state": "unacknowledged", "level": "alarm",
            "cause": "raise", "who": "auscult", "why": "above the threshold",
        },
        "at_s": 12.0, "time": "2026-01-01T00:00:12+00:00", "score": 3.5, "reason": "hiss", "site": "pump house",
        "dropped": 0,
    }  # fmt: skip


PEOPLE = ("acknowledge", "reset", "shelve", "unshelve", "expire", "out_of_service", "in_service")


def test_unless_told_otherwise_every_change_of_a_state_is_sent_and_a_silence_is_not(hook, inbox):
    shift = hook(inbox.url)
    shift.update([told(), *(told("acknowledged", cause=cause) for cause in (*PEOPLE, "silence", "ease"))], [])
    shift.update([told("returned_unacknowledged", cause="return"), told("normal", cause="acknowledge")], [])
    until(lambda: len(inbox.messages) >= 11)
    assert inbox.causes == ["raise", *PEOPLE, "ease", "return", "acknowledge"]


def test_a_machine_that_is_put_out_of_service_while_it_is_well_is_told(hook, inbox):
    """Nobody is called for it from now on: a copy of its state must say so."""
    shift = hook(inbox.url)
    shift.update([told("out_of_service", "normal", cause="out_of_service")], [])
    shift.update([told("out_of_service", cause="raise")], [])  # hidden: nobody is told
    shift.update([told("normal", "normal", cause="in_service")], [])
    shift.update([told("unacknowledged", "warning")], [])  # below the level
    shift.update([told("acknowledged", "warning", cause="acknowledge")], [])
    shift.update([told()], [])
    until(lambda: len(inbox.messages) >= 3)
    assert inbox.causes == ["out_of_service", "in_service", "raise"]


def test_a_latched_alarm_of_before_a_restart_is_acknowledged_and_reset_there_too(hook, inbox):
    latched = status("latched_unacknowledged", level="normal")
    first = hook(inbox.url)
    first.update([], [latched])  # new to a site: what stands is told
    first.close(2.0)
    shift = hook(inbox.url)
    shift.update([], [latched])
    shift.update([told("latched_acknowledged", "normal", cause="acknowledge")], [])
    shift.update([told("normal", cause="reset", level="normal")], [])
    shift.update([told("normal", cause="return", machine="pump")], [])  # it was never told of that one
    until(lambda: len(inbox.messages) >= 3)
    assert inbox.causes == ["return", "acknowledge", "reset"]


def test_what_only_the_journal_has_after_a_kill_is_told_after_the_start(hook, inbox):
    """The change of an alarm is in the journal before its message is in the queue."""
    names = ("raised", "eased", "over", "shelved", "same", "warned")
    before = [status("acknowledged" if name in ("eased", "over", "same") else "normal", machine=name) for name in names]
    first = hook(inbox.url)
    first.update([], before)
    first.close(2.0)
    assert len(inbox.messages) == 3  # what stands when it is new to a site
    inbox.messages.clear()
    shift = hook(inbox.url)
    after = [("unacknowledged", "alarm"), ("acknowledged", "warning"), ("normal", "normal"), ("shelved", "normal")]
    after += [("acknowledged", "alarm"), ("unacknowledged", "warning")]
    shift.update([], [status(*now, machine=name) for now, name in zip(after, names, strict=True)])
    until(lambda: len(inbox.messages) == 4)
    found = [(one["change"]["machine"], one["change"]["cause"], one["change"]["before"]) for one in inbox.messages]
    assert found == [
        ("raised", "raise", "normal"),
        ("eased", "ease", "acknowledged"),
        ("over", "return", "acknowledged"),
        ("shelved", "shelve", "normal"),
    ]
    assert {one["change"]["why"] for one in inbox.messages} == {"found so after a restart"}


def test_what_people_type_may_be_long_and_no_unicode(hook, inbox):
    shift = hook(inbox.url)
    shift.update([told(reason="x" * 100_000 + "\udcff"), told(reason="\udcff", score=float("nan"))], [])
    until(lambda: len(inbox.messages) == 2)
    assert len(inbox.messages[0]["reason"]) == LONGEST_WORDS
    assert (inbox.messages[1]["reason"], inbox.messages[1]["score"]) == ("?", None)


# What the receiver says


@pytest.mark.parametrize("answer", [401, 403, 404, 408, 429, 500, 503, 301, 307])
def test_what_says_nothing_of_the_message_is_tried_again_and_in_order(hook, inbox, soon, answer):
    to = "https://elsewhere.example"
    inbox.answers = [
        (answer, {"Location": f"{to}/services/s3cr3t?state={n}"}, b"request %d failed" % n) for n in range(2)
    ]
    shift = hook(inbox.url)
    shift.update(messages(3), [])
    lines = fed(shift, lambda: len(inbox.messages) == 5 and not shift._outbox)
    assert inbox.ids == [inbox.ids[0]] * 3 + inbox.ids[3:] and len(set(inbox.ids)) == 3
    assert [sent["reason"] for sent in inbox.messages[2:]] == ["0", "1", "2"]
    lines += said(shift, "works again") if "works again" not in lines else []
    assert len(lines) == 2 and f"({answer} " in lines[0] and "; " in lines[0]
    if answer in (301, 307):
        assert f"(to {to}): give the address" in lines[0] and "s3cr3t" not in "".join(lines)


@pytest.mark.parametrize("answer", [400, 409, 413, 415, 422, 499])
def test_what_is_refused_is_said_once_and_set_aside_and_the_next_goes_on(hook, inbox, tmp_path, answer):
    inbox.answers = [(answer, {}, b"no field 'shift'\r\n\x1b[31m")] * 2
    shift = hook(inbox.url)
    shift.update(messages(4), [])
    until(lambda: len(inbox.messages) == 4 and not shift._outbox)
    assert len(set(inbox.ids)) == 4
    aside = sorted((tmp_path / "outbox" / "shift" / "aside").iterdir())
    assert [json.loads(file.read_text())["id"] for file in aside] == inbox.ids[:2]
    first, second = list(shift.failures())
    assert f"refuses a message ({answer} " in first and "no field 'shift' [31m); it lies in " in first
    assert second == f"2 messages were refused ({answer})"


def test_retry_after_is_respected_and_bounded():
    for answer, seconds in [("7", 7.0), ("0", 1.0), ("999999999999999999", 300.0), ("soon", 1.0), ("-5", 1.0)]:
        inbox = Inbox()
        inbox.answers = [(503, {"Retry-After": answer}, b"")]
        clock = Clock()
        courier, outbox = courier_of(inbox.url, clock)
        outbox.put(message(told(), "plant"))
        with pytest.raises(OutputError):
            courier.deliver()
        assert not courier.due
        clock.now = seconds - 0.01
        assert not courier.due
        clock.now = seconds
        assert courier.due, answer
        inbox.close()


def test_a_date_to_retry_at_is_read_by_the_clock_of_the_receiver():
    from edge_runtime.outputs.receiver import _seconds

    assert _seconds("Wed, 01 Jan 2020 00:01:30 GMT", "Wed, 01 Jan 2020 00:00:00 GMT") == 90.0
    assert _seconds("Wed, 01 Jan 2020 00:01:30 GMT", "") == 0.0


def test_an_answer_that_is_announced_is_waited_for(closing, hook):
    def early(connection):
        whole(connection)
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        time.sleep(0.1)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    shift = hook(closing(Bad(early)).url)
    shift.update([told()], [])
    until(lambda: not shift._outbox)
    assert list(shift.failures()) == []


# Secrets and settings


def test_a_token_is_read_at_each_try_and_never_said(hook, inbox, tmp_path, soon):
    file = tmp_path / "shift.token"
    file.write_text("one-secret\n")
    shift = hook(inbox.url, token_file=str(file))
    shift.update([told()], [])
    until(lambda: not shift._outbox)
    file.write_text("another-secret\n")
    inbox.answers = [(401, {}, b"")]
    shift.update([told()], [])
    lines = fed(shift, lambda: len(inbox.messages) == 3)
    file.unlink()
    shift.update([told()], [])
    lines += fed(shift, lambda: shift._courier._failures > 1)
    file.write_text("a-third")
    lines += fed(shift, lambda: len(inbox.messages) == 4)
    assert [headers["Authorization"] for headers in inbox.headers] == [
        "Bearer one-secret",
        "Bearer another-secret",
        "Bearer another-secret",
        "Bearer a-third",
    ]
    assert "it wants a token, or another one: see token_file" in lines[0]
    assert any(f"token_file {file}: No such file" in line for line in lines)
    assert not any("secret" in line for line in lines)


MISTAKES = {
    "url: wanted http or https": ["", "example.org/x", "ftp://example.org", "https://", "https:///x", "http://:80"],
    "url: wanted ASCII": ["https://example.org/a b", "https://exämple.org/", "https://example.org/#x"],
    "give token_file": ["https://ann:secret@example.org/", "https://token@example.org/"],
    "https://host:port/path": [
        "https://example.org:99999/",
        "https://[::1/",
        f"https://{'x' * 70}.org/",
        "http://a:0/",
    ],
}


@pytest.mark.parametrize(("words", "url"), [(words, url) for words in MISTAKES for url in MISTAKES[words]])
def test_an_address_that_cannot_be_is_refused_without_telling_a_secret(words, url):
    with pytest.raises(ConfigError) as error:
        WebhookSettings(url=url)
    assert words in str(error.value) and "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Authorization": "Bearer x"}, "give token_file"),
        ({"host": "x"}, "leave it out"),
        ({"X": "a\r\nEvil: 1"}, "wanted a name and printable ASCII"),
        ({"a b": "x"}, "wanted a name"),
    ],
)
def test_headers_that_would_do_harm_are_refused(headers, words):
    with pytest.raises(ConfigError, match=words):
        WebhookSettings(url="https://example.org", headers=headers)


def test_what_can_be_known_beforehand_is_checked(tmp_path):
    empty, two, no_ca = tmp_path / "empty", tmp_path / "two", tmp_path / "ca"
    empty.write_text("\n")
    two.write_text("one\ntwo\n")
    no_ca.write_text("no certificate")
    for changes, words in [
        ({"token_file": str(tmp_path / "nope")}, "output shift: token_file .*nope: No such file .*; give a file"),
        ({"token_file": str(empty)}, "the token alone; write it anew"),
        ({"token_file": str(two)}, "wanted one line"),
        ({"ca_file": str(no_ca)}, "ca_file .*: no certificates in it; give a file in PEM format"),
        ({"ca_file": str(tmp_path / "nope")}, "ca_file .*nope: No such file"),
    ]:
        with pytest.raises(ConfigError, match=words):
            check_output("shift", WebhookSettings(url="https://example.org/", **changes))
    with pytest.raises(ConfigError, match="rename it"):
        open_output("..", WebhookSettings(url="https://example.org/"), state=tmp_path)
