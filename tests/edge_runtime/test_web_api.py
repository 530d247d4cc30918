"""What the page tells of a listener, and what it does for people: a real server, asked over loopback."""

import shutil
import time
import urllib.parse

import pytest

pytest.importorskip("starlette", reason="pip install 'auscult[web]'")
pytest.importorskip("uvicorn", reason="pip install 'auscult[web]'")

from edge_runtime.journal import Beat, Heard, Journal, Sign, Visitor
from edge_runtime.web import overview, verdict
from tests.edge_runtime import event_made
from tests.edge_runtime.pages import Page
from tests.edge_runtime.test_alarm_commands import Listener


@pytest.fixture
def made():
    """Everything that a test starts, to be ended."""
    started = []

    def keep(one):
        started.append(one)
        return one

    yield keep
    for one in reversed(started):
        one.close() if isinstance(one, Page) else one.kill()


@pytest.fixture
def listener(tmp_path, made):
    return made(Listener(tmp_path))


@pytest.fixture
def page(tmp_path, listener, made):
    return made(Page(tmp_path))


def fan(told):
    return [one for one in told["alarms"] if one["machine"] == "fan"]


def test_it_waits_for_a_journal_and_shows_one_that_is_made_replaced_and_broken(tmp_path, made):
    page = made(Page(tmp_path))
    told = page.get("/api/state")
    assert (told["listening"]["state"], told["machines"]) == ("waiting", [])
    one = Listener(tmp_path)
    assert page.get("/api/state")["listening"]["state"] == "listening"
    one.hears("fan", "anomaly", "alarm")
    assert fan(page.get("/api/state"))[0]["state"] == "unacknowledged"
    one.kill()
    for file in tmp_path.glob("journal.db*"):  # as the listener sets one aside
        file.rename(file.with_name(f"aside-{file.name}"))
    Journal(tmp_path).close()
    assert page.get("/api/state")["alarms"] == []
    (tmp_path / "journal.db").write_bytes(b"no journal at all, " * 99)
    told = page.get("/api/state")["listening"]
    assert told["state"] == "unreadable" and "journal.db" in told["words"]


def test_an_alarm_is_shown_with_when_why_what_to_do_and_what_can_be_done(listener, page):
    listener.hears("fan", "anomaly", "alarm")
    told = page.get("/api/state")
    alarm = fan(told)[0]
    assert (alarm["state"], alarm["score"], alarm["reason"]) == (
        "unacknowledged",
        12.5,
        "1.9-2.3 kHz, 14 dB above normal",
    )
    assert alarm["can"] == ["acknowledge", "silence", "shelve", "out_of_service"] and "Acknowledge" in alarm["todo"]
    assert abs(told["now_s"] - time.time()) < 5 and alarm["since"].endswith("+00:00")


def test_actions_are_passed_on_with_who_and_why_and_the_answer_of_the_listener(listener, page, tmp_path):
    listener.hears("fan", "anomaly", "alarm")
    path = "/api/machines/fan/anomaly"
    said = "fan, anomaly: unacknowledged: what raised it goes on; acknowledge it, and reset it when that is over"
    assert page.program(f"{path}/reset", {"who": "ann"}) == (409, {"error": said})
    done = page.program(f"{path}/ack", {"who": " ann  b. ", "why": "on my way"})
    assert done == (200, {"words": "fan, anomaly: unacknowledged -> acknowledged"})
    assert page.program(f"{path}/ack", {"who": "bob"})[0] == 409
    alarm = fan(page.get("/api/state"))[0]
    assert (alarm["state"], alarm["by"], alarm["said"]) == ("acknowledged", "ann b.", "on my way")
    assert listener.said() == "fan, anomaly: unacknowledged -> acknowledged"  # and the outputs hear of it
    listener.hears("fan", "anomaly", "normal")
    assert page.program(f"{path}/reset", {"who": "ann"})[0] == 200
    assert fan(page.get("/api/state")) == []
    history = page.get("/api/history?machine=fan")["history"]
    assert [(one["cause"], one["who"]) for one in history[:2]] == [("reset", "ann"), ("return", "auscult")]


def test_shelving_takes_minutes_and_every_other_action_is_there(listener, page):
    path = "/api/machines/pump/not_listening"
    listener.hears("pump", "not_listening", "alarm")
    assert page.program(f"{path}/shelve", {"who": "ann"})[0] == 400
    assert page.program(f"{path}/shelve", {"who": "ann", "minutes": 600})[0] == 409  # longest_shelve_s
    for action, body in [
        ("silence", {}),
        ("shelve", {"minutes": 30, "why": "part ordered"}),
        ("unshelve", {}),
        ("out-of-service", {}),
        ("in-service", {}),
        ("ack", {}),
    ]:
        status, told = page.program(f"{path}/{action}", {"who": "ann", **body})
        assert status == 200, (action, told)


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/api/machines/mill/anomaly/ack", {"who": "ann"}, 409, "no machine mill is listened to"),
        ("/api/machines/fan/anomaly/mend", {"who": "ann"}, 404, "one of ack, reset"),
        ("/api/machines/fan/noise/ack", {"who": "ann"}, 404, "anomaly or not_listening"),
        ("/api/machines/fan/anomaly/ack", {"who": "auscult"}, 400, "the name of a person"),
        ("/api/machines/fan/anomaly/ack", {"who": "ann", "why": "two\nlines"}, 400, "printable"),
        ("/api/machines/fan/anomaly/ack", {"who": 5}, 400, "Expected `str`"),
        ("/api/machines/fan/anomaly/ack", b"{", 400, "truncated"),
    ],
)
def test_what_cannot_be_is_refused_in_words(page, path, body, status, said):
    found = page.program(path, body, content_type="application/json")
    assert found[0] == status and said in found[1]["error"]


def test_when_nobody_listens_it_says_so_shows_what_was_and_does_nothing(listener, page, tmp_path):
    listener.hears("fan", "anomaly", "alarm")
    listener.kill()
    told = page.get("/api/state")
    assert (told["listening"]["state"], told["listening"]["fresh"]) == ("gone", False)
    assert fan(told)[0]["state"] == "unacknowledged"
    status, answer = page.program("/api/machines/fan/anomaly/ack", {"who": "ann"})
    assert status == 503 and "nobody listens: nothing is done" in answer["error"]
    assert [one.who for one in Visitor(tmp_path).history(9)] == ["auscult"]


def test_a_listener_that_answers_nobody_is_waited_for_and_the_request_taken_back(tmp_path, made):
    journal = Journal(tmp_path)
    page = made(Page(tmp_path))
    status, answer = page.program("/api/machines/fan/anomaly/ack", {"who": "ann"})
    assert status == 503 and "taken back" in answer["error"] and journal.requests() == []
    journal.close()


def beat(state="normal", **more):
    heard = Heard("fan", state, "normal", True, 1.0, 12.0, "2026-11-21T19:00:00+00:00", -20.0, **more)
    return Beat(7, "2026-11-21T19:00:00+00:00", 0.0, [heard])


@pytest.mark.parametrize(
    ("sign", "found"),
    [
        (Sign(7, 0.4, True, beat()), "listening"),
        (Sign(None, None, False, beat()), "gone"),
        (Sign(7, 12.0, False, beat()), "hangs"),
        (Sign(7, None, False, beat()), "starting"),
        (Sign(None, None, False, None), "gone"),
    ],
)
def test_only_a_listener_that_says_so_now_listens(sign, found):
    told = overview.listening(sign)
    assert told["state"] == found and told["fresh"] == (found == "listening")


def test_silence_and_what_is_old_are_never_normal():
    heard = beat().machines[0]
    assert verdict.of(heard, [], True).look == "normal"
    assert verdict.of(heard, [], False).look == "unknown"
    assert verdict.of(None, [], True).look == "unknown"
    deaf = Heard("fan", "normal", "normal", False, 1.0, 12.0, scored=5)
    assert verdict.of(deaf, [], True).look == "deaf"
    shelved = verdict.of(deaf, [verdict.Kept("fan", "anomaly", "shelved", shelf_left_s=9, shelf_until=9)], True)
    assert shelved.look == "deaf" and "shelved" in shelved.word


@pytest.mark.parametrize("count", ["0", "201", "000000100999", "1" * 5000, "-1", "٣", ""])
def test_a_count_is_a_small_number(page, count):
    status, _, told = page.ask("GET", f"/api/history?count={urllib.parse.quote(count)}")
    assert status == 400 and "wanted 1 to 200" in told["error"]


def test_a_disk_that_fails_is_said_in_words(page, tmp_path):
    (event_made.make(tmp_path) / "label.json.partial").mkdir()
    status, told = page.program(f"/api/events/{event_made.ID}/label", {"who": "ann", "what": "fault"})
    assert status == 503 and told["error"].startswith("label.json.partial: Is a directory; see that the disk")


def test_events_are_listed_shown_played_in_ranges_labelled_and_kept(listener, page, tmp_path):
    folder = event_made.make(tmp_path)
    listed = page.get("/api/events")["events"]
    assert [(one["id"], one["label"], one["marked"]) for one in listed] == [(event_made.ID, None, False)]
    told = page.get(f"/api/events/{event_made.ID}")
    assert told["event"]["reason"]["words"] == event_made.WORDS and len(told["windows"]) == 22
    assert set(told["files"]) == {"sound.flac", "normal.flac", "spectrogram.png", "deviation.png"}
    assert told["files"]["spectrogram.png"]["width"] == 200 and len(told["files"]["spectrogram.png"]["colours"]) == 96
    marks = dict(told["marks"])
    assert marks[0] == 0.0 and marks[8000] == 1.0 and marks[500] == pytest.approx(marks[1000] / 2, abs=0.01)
    assert marks[1000] < told["bands"][0][0] < marks[2000] < told["bands"][0][1] < marks[3000]
    path, whole = f"/api/events/{event_made.ID}/sound.flac", (folder / "sound.flac").read_bytes()
    status, headers, part = page.ask("GET", path, range="bytes=100-199")
    assert (status, headers["content-type"], part) == (206, "audio/flac", whole[100:200])
    assert page.get(path) == whole
    path = f"/api/events/{event_made.ID}"
    assert page.program(f"{path}/label", {"who": "ann", "what": "fault", "why": "bearing"})[0] == 200
    assert page.program(f"{path}/label", {"who": "bob", "what": "noise"})[0] == 400
    assert page.program(f"{path}/mark", {"who": "ann", "marked": True})[0] == 200
    said = page.get(path)["said"]
    assert (said["labels"][0]["what"], said["labels"][0]["who"], said["marked_by"]) == ("fault", "ann", "ann")
    assert page.get("/api/events")["events"][0]["label"]["what"] == "fault"
    shutil.rmtree(folder)
    assert page.get("/api/events")["events"] == [] and page.ask("GET", path)[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "/api/events/..%2f..%2fetc",
        "/api/events/20261121T190256Z-fan/event.json",
        "/api/events/20261121T190256Z-fan/..%2fwindows.json",
        "/static/..%2fapp.py",
        "/static/app.py",
        "/static/",
        "/api/events/",
        "/journal.db",
        "/static/" + "x" * 300 + ".js",
        "/api/events/20261121T190256Z-" + "x" * 300,
        f"/api/events/{event_made.ID}/" + "%C3%A9" * 200,
    ],
)
def test_nothing_else_of_the_disk_can_be_asked_for(page, tmp_path, path):
    event_made.make(tmp_path)
    status, _, told = page.ask("GET", path)
    assert status == 404 and set(told) == {"error"}
