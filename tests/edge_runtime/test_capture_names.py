"""Microphones are called by what stays the same: a tree of files stands for the kernel's view of the cards."""

import pytest

from edge_runtime.capture.names import Card, cards, described, find, in_words, plugged_in
from edge_runtime.capture.portaudio import Input
from edge_runtime.errors import DeviceError


def plug(root, number, id, port=None, vendor="0d8c", product="0014", serial=None):
    """A card as the kernel shows it; without a port it is no USB card."""
    (root / "proc" / f"card{number}").mkdir(parents=True)
    (root / "proc" / f"card{number}" / "id").write_text(f"{id}\n")
    device = root / "devices" / (f"usb1/{port}/{port}:1.0" if port else f"platform/sound{number}")
    device.mkdir(parents=True)
    if port:
        facts = {"idVendor": vendor, "idProduct": product, "serial": serial}
        for name, value in facts.items():
            if value is not None:
                (device.parent / name).write_text(f"{value}\n")
    (root / "sys" / f"card{number}").mkdir(parents=True)
    (root / "sys" / f"card{number}" / "device").symlink_to(device)


def seen(root):
    return cards(root / "sys", root / "proc")


def hardware(index, card, name="USB Audio Device", device=0, default=False):
    return Input(index, f"{name}: - (hw:{card},{device})", 2, 48_000, default)


@pytest.fixture
def bench(tmp_path):
    """Two microphones alike without a serial, one with a serial, the board's own card."""
    plug(tmp_path, 0, "APE")
    plug(tmp_path, 1, "Device", "1-2.3")
    plug(tmp_path, 2, "Device_1", "1-2.4")
    plug(tmp_path, 10, "U20", "2-1", "2752", "0019", "A1B2")
    return tmp_path


CARDS = [hardware(0, 0, "tegra"), hardware(1, 1), hardware(2, 2), hardware(3, 10, "U20")]
INPUTS = [*CARDS, Input(4, "pulsemic", 32, 44_100, True)]
ABSENT = """usb:0d8c:9999 usb:2752:0019:OTHER usb:2752:0019:A1 usb-port:1-2 usb-port:1-2.3:1.0 card:Dev card:device
2 pulse USB hw:2,0 pcm: usb: card: usb:2752"""


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("usb:2752:0019:A1B2", 3),
        ("usb:2752:0019", 3),
        ("usb-port:1-2.3", 1),
        ("usb-port:1-2.4", 2),
        ("card:Device_1", 2),
        ("card:APE", 0),
        ("pulsemic", 4),
        ("pcm:pulsemic", 4),
        ("default", 4),
    ],
)
def test_a_name_means_one_microphone(bench, name, index):
    assert find(name, INPUTS, seen(bench)).index == index


@pytest.mark.parametrize("name", ABSENT.split())
def test_what_is_not_there_is_an_error_that_lists_what_there_is_and_nothing_takes_its_place(bench, name):
    with pytest.raises(DeviceError) as refused:
        find(name, INPUTS, seen(bench))
    assert str(refused.value) == (
        f"{name}: no such microphone; there is card:APE, usb-port:1-2.3, usb-port:1-2.4, usb:2752:0019:A1B2,"
        " pcm:pulsemic; see python -m edge_runtime devices"
    )


def test_two_that_match_are_told_apart_by_their_ports(bench):
    with pytest.raises(DeviceError, match=r"2 microphones match; .* usb-port:1-2\.3 or usb-port:1-2\.4"):
        find("usb:0d8c:0014", INPUTS, seen(bench))


def test_a_name_survives_being_plugged_in_elsewhere(tmp_path):
    plug(tmp_path, 3, "U20", "1-4", "2752", "0019", "A1B2")
    assert find("usb:2752:0019:A1B2", [hardware(0, 3)], seen(tmp_path)).index == 0
    with pytest.raises(DeviceError, match="no such microphone"):
        find("usb-port:2-1", [hardware(0, 3)], seen(tmp_path))


def test_card_1_is_not_card_10(bench):
    assert find("usb:2752:0019", [hardware(0, 1), hardware(1, 10)], seen(bench)).index == 1
    with pytest.raises(DeviceError, match="no such microphone"):
        find("usb:2752:0019", [hardware(0, 1)], seen(bench))


def test_of_a_card_with_several_inputs_the_first_is_meant(bench):
    inputs = [hardware(0, 0, device=2), hardware(1, 0, device=0)]
    assert find("card:APE", inputs, seen(bench)).index == 1


def test_devices_are_described_by_names_that_mean_them_alone(bench):
    found = described(INPUTS, seen(bench))
    assert [device.name for device in found] == [
        "card:APE", "usb-port:1-2.3", "usb-port:1-2.4", "usb:2752:0019:A1B2", "pcm:pulsemic"
    ]  # fmt: skip
    assert found[3].names == ["usb:2752:0019:A1B2", "usb-port:2-1", "card:U20"]
    assert in_words(found[3]) == (
        "  usb:2752:0019:A1B2  2 channels  48000 Hz  (U20: - (hw:10,0), usb-port:2-1, card:U20)"
    )
    assert in_words(found[4]).startswith("* pcm:pulsemic")


def test_whether_a_card_is_plugged_in_is_seen_without_portaudio(bench):
    def here(name):
        return plugged_in(name, bench / "sys", bench / "proc")

    assert [here(name) for name in ("usb:0d8c:0014", "usb:0d8c:9999", "card:U20", "default", "pulsemic")] == [
        True, False, True, None, None
    ]  # fmt: skip


def test_without_sound_cards_there_are_none(tmp_path):
    assert seen(tmp_path) == []
    assert Card(0, "X").names == ["card:X"]
    with pytest.raises(DeviceError, match="there is none"):
        find("default", [], [])
