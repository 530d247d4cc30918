"""What was heard goes when its time has come, whatever the clock said when it was recorded."""

import datetime
import time

import msgspec
import soundfile

from edge_runtime.recorder import ages, event, folder, normals
from edge_runtime.recorder.draft import flac
from edge_runtime.recorder.purge import purge
from tests.conftest import hum
from tests.edge_runtime.recordings import in_blocks, listen, settings
from tests.edge_runtime.test_recorder_disk import recorded, swept

DAY = 86_400.0
HOUR = 3601.0


def said_to_be(file, days=0.0, clock=""):
    """The normal sound as if it had been heard that long ago, or by such a clock."""
    then = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=days)
    heard = msgspec.structs.replace(normals.read(file), time=then.isoformat(), clock=clock)
    samples, _ = soundfile.read(file, dtype="int16")
    file.write_bytes(flac(samples, msgspec.json.encode(heard).decode()))


def two_normal_sounds(state, bundle):
    """One of the machine, and one of a machine that the site has no more."""
    listen(state, bundle, *in_blocks(hum(6, 1)))
    own = normals.files(state)[0]
    others = state / normals.FOLDER / "old pump" / "00.flac"
    others.parent.mkdir(exist_ok=True)
    others.write_bytes(own.read_bytes())
    return own, others


def test_normal_sounds_that_are_too_old_go_once_the_clock_was_right_for_an_hour(state, bundle):
    both = two_normal_sounds(state, bundle)
    for file in both:
        said_to_be(file, 91.0)
    swept(state, bundle, time.time(), 3000.0)
    assert set(both) <= set(normals.files(state))
    swept(state, bundle, time.time(), HOUR)
    assert not set(both) & set(normals.files(state))
    two_normal_sounds(state, bundle)
    young = normals.files(state)
    swept(state, bundle, time.time(), HOUR)
    assert young == normals.files(state)


def test_what_a_clock_recorded_that_was_not_set_ages_from_the_first_look_by_one_that_is(state, bundle):
    unset, ahead = recorded(state, bundle, 2)
    folder.rewrite(unset, msgspec.structs.replace(event.read(unset), clock="unset"))
    future = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=4000)
    folder.rewrite(ahead, msgspec.structs.replace(event.read(ahead), time=future.isoformat()))
    heard = two_normal_sounds(state, bundle)[1]
    said_to_be(heard, 4000.0, "unset")
    now, three = time.time(), [unset, ahead, heard]
    swept(state, bundle, now, 3000.0)
    assert ages.known(state) == {}
    swept(state, bundle, now, HOUR)
    swept(state, bundle, now + 89 * DAY, HOUR)
    assert all(one.exists() for one in three) and len(ages.known(state)) == 3
    swept(state, bundle, now + 90 * DAY + HOUR, HOUR)
    assert not any(one.exists() for one in three)
    swept(state, bundle, now + 91 * DAY, HOUR)
    assert ages.known(state) == {}


def test_ages_that_cannot_be_read_begin_anew_and_stop_nothing(state, bundle):
    (one,) = recorded(state, bundle, clock="unset")
    (state / ages.FILE).write_bytes(b"[")
    assert swept(state, bundle, time.time(), HOUR, wanted=settings()) == {one.name}
    assert list(ages.known(state)) == [one.name]


def test_a_purge_by_age_counts_normal_sounds_and_lists_what_it_cannot_date(state, bundle):
    unset, old, young = recorded(state, bundle, 3)
    folder.rewrite(unset, msgspec.structs.replace(event.read(unset), clock="unset"))
    own, others = two_normal_sounds(state, bundle)
    said_to_be(own, 3.0)
    said_to_be(others, 3.0, "unset")
    before_s = time.time() - 1.5 * DAY
    done = purge(state, [], before_s, False, False)
    name = own.relative_to(state / normals.FOLDER)
    assert done.removed == [f"{old.name}: removed", f"normal sound {name}: removed"]
    assert [words.split(": ")[0] for words in done.left] == [unset.name, "normal sound old pump/00.flac"]
    assert event.folders(state) == [unset, young] and not own.exists() and others.exists()
    seen = {unset.name: before_s - 1.0, normals.times(state)[others][0]: before_s - 1.0}
    (state / ages.FILE).write_bytes(msgspec.json.encode(seen))
    assert purge(state, [], before_s, False, False).left == []
    assert event.folders(state) == [young] and not others.exists()
