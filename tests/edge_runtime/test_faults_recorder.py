"""What happens to events when the disk is full or the process is killed; rows of docs/faults.md."""

import itertools
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile

from edge_runtime.journal import Visitor
from edge_runtime.reason import Reason
from edge_runtime.recorder import event, folder
from edge_runtime.recorder.draft import Draft
from edge_runtime.recorder.event import Event, EventWindow
from edge_runtime.recorder.normals import Normals
from edge_runtime.recorder.settings import RecorderSettings
from edge_runtime.recorder.shelf import Shelf
from edge_runtime.recorder.writer import Writer
from tests.conftest import hum, write_wav
from tests.edge_runtime.plant import Plant, figure
from tests.edge_runtime.recordings import RATE, fault, sound
from tests.edge_runtime.test_recorder_pictures import decoded

RECORDER = "recorder: {before_s: 2.0, after_s: 1.0, free_mb: 0.0}\n"
MOMENTS = 50


@pytest.fixture
def plant(tmp_path, packed):
    """Listens to a file as if it sounded now, records, and needs no sound server."""
    made = Plant(tmp_path, None, packed, more=RECORDER)
    yield made
    made.close()


def heard(plant, *sounds):
    file = write_wav(plant.folder / "sound.wav", np.concatenate(sounds))
    return plant.start("--file", file, "--realtime")


def is_whole(place):
    """Every file of an event opens, and all of its sound can be decoded."""
    found = event.read(place)
    assert len(sound(place)) == round(found.seconds * RATE)
    assert event.windows(place)
    with np.load(place / event.FEATURES) as arrays:
        columns = len(arrays["mel"])
    for name in (event.SPECTROGRAM, event.DEVIATION):
        assert decoded((place / name).read_bytes())[0].shape == (128, columns)
    return found


# The disk is full


def test_a_full_disk_ends_the_recording_and_no_scoring_and_what_fits_again_is_kept(plant, tmp_path):
    plant.before = own_disk(tmp_path / "state", 'mount -t tmpfs -o size=2m none "$STATE"')
    heard(plant, fault(8), hum(5, 3))  # no normal sound first, which would be the first that does not fit
    plant.wait("start")
    state = Path(f"/proc/{plant.process.pid}/root/{tmp_path / 'state'}")
    filled(state / "filler")
    raised, _ = plant.wait("alarm", cause="raise")
    noticed, notice = plant.wait("notice", about="recorder", after=raised)
    assert "events cannot be kept (0.0 MB of the disk are free, an event needs 0." in notice["words"]
    assert not event.folders(state)
    (state / "filler").unlink()
    _, written = plant.wait("recorded")
    assert written["state"] == "whole"
    plant.wait("notice", words="events are kept again")
    found = is_whole(state / event.EVENTS / written["id"])
    assert found.alarm_s >= 1.024 + 1.0  # what led to it is there
    times = [when for when, one in plant.told if one["event"] == "window"]
    assert max(after - before for before, after in itertools.pairwise(times)) < 1.0  # one each 0.256 s
    assert plant.process.wait(30) == 0 and plant.whole()[0]
    assert sum(one["event"] == "notice" and one["about"] == "recorder" for one in plant.look()) == 2
    figure("disk full, events", noticed=noticed - raised)


def test_a_disk_that_can_only_be_read_is_said_once_and_nothing_else_suffers(plant, tmp_path):
    more = 'mkdir "$STATE/events" && mount -t tmpfs -o ro none "$STATE/events"'
    plant.before = own_disk(tmp_path / "state", f'mount -t tmpfs -o size=20m none "$STATE" && {more}')
    heard(plant, hum(3, 1), fault(5), hum(4, 3), fault(4), hum(3, 4))
    assert plant.process.wait(60) == 0 and plant.whole()[0]
    said = [one["words"] for one in plant.look() if one["event"] == "notice" and one["about"] == "recorder"]
    assert said == ["events cannot be kept (Read-only file system); scoring goes on"]
    causes = [one["cause"] for one in plant.look() if one["event"] == "alarm"]
    assert causes == ["raise", "return", "raise", "return"]


def own_disk(state, words):
    """What a listener is started with, so that its state lies on a disk that nobody else has."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("a file system of one's own needs user namespaces")
    state.mkdir()
    return "unshare", "-rm", "sh", "-c", f'STATE="{state}"; {words} && exec "$0" "$@"'


def filled(file):
    """Until nothing more fits."""
    with file.open("wb", buffering=0) as stream:
        while True:
            try:
                stream.write(bytes(4096))
            except OSError:
                return


def test_the_least_interesting_event_gives_way_once_when_the_disk_is_full_in_the_middle(tmp_path, monkeypatch):
    writer = opened(tmp_path)
    for number in range(3):
        writer.event(draft(number, "whole", excess=float(3 - number)))
    full, put = [OSError(28, "No space left on device")], folder.put

    def once(*words):
        if full:
            raise full.pop()
        return put(*words)

    monkeypatch.setattr(folder, "put", once)
    writer.event(draft(3, "whole", excess=9.0))
    assert [place.name[-1] for place in event.folders(tmp_path)] == ["0", "1", "3"]  # 2 was the nearest to normal


# The process is killed


def draft(number, state, seconds=2.0, excess=1.0):
    """An event, made up."""
    name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(1.8e9 + number))}-fan-{number}"
    heard = np.rint(hum(seconds, number) * 32_768).astype(np.int16)
    found = Event(
        1, name, "plant", "fan", "anomaly", "alarm", state, "2027-01-15T08:00:00+00:00", "", seconds, 1.0, 1.5, None,
        3.0, 2.0, Reason("", []), "fan.bundle", "", RATE, "sound", excess=excess,
    )  # fmt: skip
    window = EventWindow(0.0, 1.024, 3.0, True, -20.0, [])
    level = np.full(128, -60.0, np.float32)
    return Draft(found, heard, [window], level, level)


def opened(state, budget_mb=1000.0):
    return Writer(Shelf(state), RecorderSettings(free_mb=0.0, budget_mb=budget_mb), Normals(state))


def write_for_ever(state, first, told):
    """Open, label, end, one event after another, within a budget of some ten of them."""
    writer = opened(state, budget_mb=3.0)
    for number in itertools.count(first):
        one = draft(number, "open")
        writer.event(one)
        event.label(state / event.EVENTS / one.event.id, "fault", "ann")
        os.write(told, f"{number} ".encode())
        writer.event(draft(number, "whole", 3.0))


def killed(state, first, seconds):
    """A process of its own that writes events, killed after so long -> the events it had labelled."""
    mine, others = os.pipe()
    child = os.fork()
    if not child:
        os.close(mine)
        try:
            write_for_ever(state, first, others)
        finally:
            os._exit(1)
    os.close(others)
    while b" " not in (began := os.read(mine, 100)):  # it has written one
        assert began
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with os.fdopen(mine, "rb") as stream:
        return [int(word) for word in (began + stream.read()).split()]


def test_an_event_is_whole_or_not_there_when_its_writing_is_killed_at_any_moment(tmp_path):
    chance, next_one, cut, half = random.Random(7), 0, 0, 0
    labelled = set()
    for _ in range(MOMENTS):
        new = killed(tmp_path, next_one, chance.uniform(0.0, 0.25))
        labelled |= set(new)
        next_one = max(new) + 2
        hidden = [place for place in (tmp_path / event.EVENTS).iterdir() if place.name.startswith(".")]
        half += bool(hidden)
        states = [is_whole(place).state for place in event.folders(tmp_path)]
        assert states.count("open") <= 1
        cut += len(list(folder.mend(tmp_path / event.EVENTS)))
        left = list((tmp_path / event.EVENTS).iterdir())
        assert left == [place for place in left if event.ID.fullmatch(place.name)]
        for place in left:
            assert is_whole(place).state != "open"
            assert {left.name for left in place.glob("*.partial")} <= {"label.json.partial"}  # of a person's, not ours
            if int(place.name.rsplit("-", 1)[1]) in labelled:
                assert event.said(place).labels  # what a person said is not lost either
    assert half >= 5 and cut >= 5, "the moments were not those of writing"
    figure("SIGKILL while writing an event", moments=MOMENTS, half_written=half, cut=cut)


@pytest.mark.parametrize("ends", ["the label not carried yet", "the label carried", "the new one not whole"])
def test_a_crash_between_the_two_names_leaves_the_event(tmp_path, ends):
    writer = opened(tmp_path)
    one = draft(1, "open")
    writer.event(one)
    place = tmp_path / event.EVENTS / one.event.id
    event.label(place, "fault", "ann")
    new, old = (place.with_name(f".{place.name}{end}") for end in (folder.PARTIAL, folder.OLD))
    shutil.copytree(place, new)
    if ends == "the new one not whole":
        (new / event.MANIFEST).unlink()
    place.rename(old)
    ((old if ends == "the label carried" else new) / event.LABEL).unlink()
    assert not event.folders(tmp_path)
    assert [found.name for found in folder.mend(tmp_path / event.EVENTS)] == [place.name]
    assert is_whole(place).state == "cut" and event.said(place).labels
    assert [left.name for left in (tmp_path / event.EVENTS).iterdir()] == [place.name]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_event_that_goes_on_when_the_listening_ends_is_there_and_says_that_it_was_cut(plant, number):
    heard(plant, hum(4, 1), fault(60))
    _, first = plant.wait("recorded")
    state = plant.folder / "state"
    (place,) = event.folders(state)
    assert is_whole(place).state == "open" == first["state"]
    plant.process.send_signal(number)
    plant.process.wait(10)
    if number == signal.SIGTERM:
        assert is_whole(place).state == "cut" and plant.look()[-2]["state"] == "cut"
    began = time.monotonic()
    heard(plant, hum(6, 1))
    plant.heard()
    if number == signal.SIGKILL:
        notice = next(one for one in plant.look() if one["event"] == "notice" and one["about"] == "recorder")
        assert f"event {place.name} was cut" in notice["words"]
    assert is_whole(place).state == "cut"
    assert [row.id for row in Visitor(state).events(9)] == [place.name]
    figure(f"event cut by {number.name}", recovered=time.monotonic() - began, kept_s=event.read(place).seconds)


def test_a_manifest_of_before_a_crash_has_only_fields_that_are_known(tmp_path):
    writer = opened(tmp_path)
    writer.event(draft(1, "whole"))
    (place,) = event.folders(tmp_path)
    fields = msgspec.json.decode((place / event.MANIFEST).read_bytes())
    assert set(fields) == set(Event.__struct_fields__)
    assert soundfile.info(place / event.SOUND).subtype == "PCM_16"
