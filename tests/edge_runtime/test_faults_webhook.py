"""What becomes of messages while the receiver is down, hangs or lies; rows of docs/faults.md."""

# ruff: noqa: F811 - fixtures that are imported

import itertools
import signal
import time
import tracemalloc

import pytest

from edge_runtime.outputs.message import message
from edge_runtime.outputs.receiver import Receiver
from edge_runtime.outputs.worker import OutputError
from tests.conftest import hum, write_wav
from tests.edge_runtime import receivers
from tests.edge_runtime.conftest import FAULT
from tests.edge_runtime.plant import Plant, figure
from tests.edge_runtime.receivers import (  # noqa: F401 - fixtures
    Bad,
    Clock,
    Inbox,
    certified,
    closing,
    courier_of,
    fed,
    free_port,
    hook,
    inbox,
    messages,
    soon,
)  # fmt: skip
from tests.edge_runtime.telling import said, status, told, until

# What goes wrong on the way

BAD = {
    "hang": "does not answer within 0.5 s; see that it is well",
    "drip": "does not answer within 0.5 s",
    "flood": "begins with more than 65536 bytes",
    "reset": "Connection reset by peer",
    "leave": "it closed the connection without an answer",
    "mumble": "220 mail.example.org",
}


@pytest.mark.parametrize("how", BAD)
def test_a_receiver_that_behaves_badly_takes_little_time_and_memory_and_the_message_stays(closing, how):
    bad = closing(Bad(getattr(receivers, how)))
    receiver = Receiver(receivers.settings(bad.url, timeout_s=0.5))
    courier, outbox = courier_of(bad.url, Clock(), receiver)
    outbox.put(message(told(), "plant"))
    tracemalloc.start()
    began = time.monotonic()
    with pytest.raises(OutputError) as error:
        courier.deliver()
    assert time.monotonic() - began < 1.5  # s: 0.5 and what a busy machine adds
    assert tracemalloc.get_traced_memory()[1] < 1e6  # bytes: an answer's 64 KiB, some times
    tracemalloc.stop()
    assert BAD[how] in str(error.value) and len(outbox) == 1 and bad.taken == 1


@pytest.mark.parametrize("how", ["pour", "dally"])
def test_what_comes_behind_a_good_answer_is_neither_read_nor_waited_for(closing, hook, how, monkeypatch):
    monkeypatch.setattr("edge_runtime.outputs.receiver.BODY_S", 20.0)
    shift = hook(closing(Bad(getattr(receivers, how))).url, timeout_s=30.0)
    shift.update([told()], [])
    assert until(lambda: not shift._outbox) < 5.0  # s
    assert list(shift.failures()) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/", "http://no-such-host.invalid/"])
def test_who_is_not_there_is_said_once_and_nothing_waits_for_it(hook, url, soon):
    shift = hook(url.format(port=free_port()))
    began = time.monotonic()
    shift.update(messages(50), [])
    assert time.monotonic() - began < 1.0  # s, for all 50; one try of the name alone may take longer
    lines = fed(shift, lambda: shift._courier._failures > 3, 30.0)
    assert len(lines) == 1 and "cannot be reached (" in lines[0] and "see its url and the network" in lines[0]
    began = time.monotonic()
    shift.close(1.0)
    assert time.monotonic() - began < 1.5
    assert list(shift.failures()) == ["50 messages are not delivered; 50 of them wait for the next start"]


def test_a_receiver_that_hangs_delays_neither_the_loop_nor_the_end(hook, closing, tmp_path):
    shift = hook(closing(Bad(receivers.hang)).url, timeout_s=30.0)
    longest = 0.0
    for one in messages(200):
        began = time.monotonic()
        shift.update([one], [status("unacknowledged")])
        shift.feed(True)
        list(shift.failures())
        longest = max(longest, time.monotonic() - began)
    assert longest < 0.5  # s, on a busy machine; the receiver would take 30
    figure("webhook's update, the longest of 200", seconds=longest)
    until(lambda: len(list((tmp_path / "outbox" / "shift").glob("[0-9]*.json"))) == 200)
    began = time.monotonic()
    shift.close(1.0)
    assert time.monotonic() - began < 1.5
    assert not shift._sender._thread.is_alive() and not shift._keeper._thread.is_alive()


def test_what_was_told_last_is_sent_at_the_end_and_what_cannot_be_after_the_next_start(hook, inbox):
    for number in range(3):
        shift = hook(inbox.url)
        shift.update([told(reason=str(number))], [])
        shift.close(2.0)
    assert [sent["reason"] for sent in inbox.messages] == ["0", "1", "2"]
    down = hook(f"http://127.0.0.1:{free_port()}/")
    down.update(messages(3), [])
    down.close(1.0)
    again = hook(inbox.url)
    again.update([told(reason="new")], [])
    until(lambda: len(inbox.messages) == 7)
    assert [sent["reason"] for sent in inbox.messages[3:]] == ["0", "1", "2", "new"]


def test_a_queue_that_is_full_is_said_once_and_what_was_dropped_is_told(hook, soon):
    port = free_port()
    shift = hook(f"http://127.0.0.1:{port}/", queue=5)
    shift.update(messages(12), [])
    lines = fed(shift, lambda: shift._courier._failures > 1)
    assert [line for line in lines if "full" in line] == ["5 messages wait, its queue is full: the oldest go"]
    inbox = Inbox(port)
    lines = fed(shift, lambda: not shift._outbox)
    inbox.close()
    assert [sent["reason"] for sent in inbox.messages[-4:]] == ["8", "9", "10", "11"]
    assert sum(sent["dropped"] for sent in inbox.messages) == 7
    assert "7 messages before the one of now were dropped, its queue was full" in lines


def test_a_disk_that_cannot_be_written_is_said_and_messages_go_on(hook, inbox, tmp_path):
    (tmp_path / "outbox").write_text("a file")
    shift = hook(inbox.url)
    shift.update(messages(3), [])
    until(lambda: len(inbox.messages) == 3)
    assert "cannot be written" in said(shift, "it goes on in memory")[0]


# An hour


def test_after_an_hour_without_a_receiver_every_message_arrives_once_and_in_order(tmp_path):
    """But for those whose answer was lost: they arrive again, with the same id."""
    clock, port = Clock(), free_port()
    courier, outbox = courier_of(f"http://127.0.0.1:{port}/", clock, folder=tmp_path)
    made, tries, inbox, back = [], 0, None, None
    while inbox is None or outbox:
        clock.now += 1.0
        if clock.now <= 3600.0 and clock.now % 30.0 == 0.0:  # 120 alarms and what becomes of them
            made.append(message(told(), "plant"))
            outbox.put(made[-1])
            outbox.save()
        if clock.now == 3600.0:
            inbox = Inbox(port)
            inbox.answers = [(200, {}, b""), (None, {}, b""), (503, {}, b"")]
        while courier.due:
            tries += inbox is None
            try:
                courier.deliver()
                back = back or clock.now
            except OutputError:
                pass
    inbox.close()
    assert 60 <= tries <= 70  # one a minute, and the first ones
    assert 3600.0 <= back <= 3660.0
    wanted = [one.id for one in made]
    assert inbox.ids == [wanted[0], wanted[1], wanted[1], wanted[1], *wanted[2:]]  # lost answer, then 503
    assert len(made) == 120 and sum(sent["dropped"] for sent in inbox.messages) == 0
    assert list(tmp_path.glob("[0-9]*.json")) == []
    figure("webhook down for an hour", tries=tries, recovered=back - 3600.0, messages=len(made))


def test_pauses_grow_to_a_minute_and_begin_anew_after_a_success():
    clock, port = Clock(), free_port()
    courier, outbox = courier_of(f"http://127.0.0.1:{port}/", clock)
    for _ in range(2):
        outbox.put(message(told(), "plant"))
        pauses = []
        for _ in range(9):
            with pytest.raises(OutputError):
                courier.deliver()
            pauses.append(courier._next_s - clock.now)
            clock.now = courier._next_s
        assert pauses == [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 60.0, 60.0]
        inbox = Inbox(port)
        courier.deliver()
        inbox.close()


# The whole process


@pytest.fixture
def plant(tmp_path, packed):
    """A listener to files, as they sound, whose webhook nobody answers yet."""
    port = free_port()
    more = f'outputs:\n  shift: {{kind: webhook, url: "http://127.0.0.1:{port}/alarms", timeout_s: 2.0}}\n'
    plant = Plant(tmp_path, None, packed, more=more)
    plant.port, plant.outbox = port, tmp_path / "state" / "outbox" / "shift"
    plant.fault = write_wav(tmp_path / "fault.wav", hum(60, pitch=FAULT))
    plant.calm = write_wav(tmp_path / "calm.wav", hum(60))
    yield plant
    plant.close()


@pytest.mark.parametrize("moment", ["when its message is in the queue", "as soon as the journal has it"])
def test_an_alarm_whose_receiver_is_down_arrives_after_kill_9_and_another_start(plant, closing, moment):
    plant.start("--file", plant.fault, "--realtime")
    _, alarm = plant.wait("alarm", kind="anomaly", cause="raise")
    if "queue" in moment:
        until(lambda: list(plant.outbox.glob("[0-9]*.json")))
    plant.process.send_signal(signal.SIGKILL)
    plant.process.wait()
    inbox = closing(Inbox(plant.port))
    began = time.monotonic()
    plant.start("--file", plant.calm, "--realtime")
    until(lambda: inbox.messages, 20)
    arrived = time.monotonic()
    plant.wait("alarm", kind="anomaly", cause="return")
    until(lambda: len(inbox.messages) >= 2)
    assert plant.end()[0] == 0
    assert inbox.causes == ["raise", "return"] and len(set(inbox.ids)) == 2
    sent = inbox.messages[0]
    if "queue" in moment:
        assert (sent["time"], sent["score"], sent["site"]) == (alarm["time"], alarm["score"], "site")
    assert list(plant.outbox.glob("[0-9]*.json")) == []
    figure("webhook down, kill -9", recovered=arrived - began)


def test_a_receiver_that_is_down_is_told_and_what_waits_arrives_when_it_is_back(plant, closing):
    plant.start("--file", plant.fault, "--realtime")
    raised, _ = plant.wait("alarm", kind="anomaly", cause="raise")
    noticed, notice = plant.wait("notice", about="output shift")
    assert "cannot be reached (Connection refused)" in notice["words"]
    inbox = closing(Inbox(plant.port))
    back = time.monotonic()
    until(lambda: inbox.messages, 10)
    arrived = time.monotonic()
    plant.wait("notice", about="output shift", words="works again")
    code, seconds = plant.end()
    assert code == 0 and seconds < 3.0 and plant.whole()[0]
    figure("webhook down", noticed=noticed - raised, recovered=arrived - back, ended=seconds)


def test_a_receiver_that_hangs_delays_no_window_and_no_end(plant, closing):
    hanging = closing(Bad(receivers.hang))
    plant.site.write_text(plant.site.read_text().replace(f"127.0.0.1:{plant.port}", hanging.url[7:-1]))
    plant.start("--file", plant.fault, "--realtime")
    raised, _ = plant.wait("alarm", kind="anomaly", cause="raise")
    until(lambda: hanging.taken)
    noticed, _ = plant.wait("notice", about="output shift")
    times = [when for when, event in plant.told if event["event"] == "window" and when > raised]
    code, seconds = plant.end()
    assert code == 0 and seconds < 3.0 and plant.whole()[0]
    assert max(after - before for before, after in itertools.pairwise(times)) < 1.8  # a window each 0.256 s
    assert len(list(plant.outbox.glob("[0-9]*.json"))) == 1
    figure("webhook hangs", noticed=noticed - raised, ended=seconds)


# TLS


def test_a_receiver_with_a_ca_of_its_own_is_trusted_with_that_ca_alone(tmp_path, closing):
    ca, context = certified(tmp_path)
    inbox = closing(Inbox(context=context))
    talker = closing(Bad(lambda connection: connection.sendall(b"220 mail.example.org ESMTP\r\n")))
    Receiver(receivers.settings(inbox.url, ca_file=str(ca))).post(message(told(), "plant"))
    assert len(inbox.messages) == 1
    for url, file, why in [
        (inbox.url, None, "is not trusted (.*); where it has a CA of its own, give its certificate as ca_file"),
        (inbox.url.replace("localhost", "127.0.0.1"), str(ca), "IP address mismatch"),
        (inbox.url.replace("https", "http"), None, "cannot be reached"),
        (f"https://127.0.0.1:{talker.url[17:-1]}/", None, "cannot be reached"),
    ]:
        with pytest.raises(OutputError, match=why):
            Receiver(receivers.settings(url, ca_file=file)).post(message(told(), "plant"))
    assert len(inbox.messages) == 1


def test_a_handshake_that_hangs_is_ended_in_time(closing):
    began = time.monotonic()
    with pytest.raises(OutputError, match="does not answer within"):
        Receiver(receivers.settings(closing(Bad(receivers.hang)).url.replace("http", "https"), timeout_s=0.5)).reach(
            0.5
        )
    assert time.monotonic() - began < 1.5
