"""The board's own sensors, from a small tree of files like that of a Jetson."""

import pytest

from export.latency import board

CPU, GPU, HWMON, HEAT = (
    "sys/devices/system/cpu/cpu0/cpufreq",
    "sys/class/devfreq/17000000.gpu",
    "sys/class/hwmon/hwmon1",
    "sys/class/thermal",
)
JETSON = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: ARMv8 Processor rev 1 (v8l)\n",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic",
    "var/lib/nvpmodel/status": "pmode:0002",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n",
    f"{CPU}/scaling_cur_freq": "1510400",
    f"{CPU}/scaling_max_freq": "1728000",
    f"{GPU}/cur_freq": "612000000",
    f"{GPU}/max_freq": "1020000000",
    f"{HWMON}/name": "ina3221",
    f"{HWMON}/in1_label": "VDD_IN",
    f"{HWMON}/in1_input": "5000",
    f"{HWMON}/curr1_input": "1200",
    f"{HWMON}/in2_label": "VDD_SOC",
    f"{HWMON}/in2_input": "5000",
    f"{HWMON}/curr2_input": "300",
    f"{HWMON}/in7_label": "sum of shunt voltages",
    f"{HWMON}/in7_input": "60",
    "sys/class/hwmon/hwmon2/oc3_event_cnt": "4",
    f"{HEAT}/thermal_zone0/type": "cpu-thermal",
    f"{HEAT}/thermal_zone0/temp": "51250",
    f"{HEAT}/thermal_zone1/type": "broken-thermal",
    f"{HEAT}/thermal_zone1/temp": "",
    f"{HEAT}/cooling_device0/type": "pwm-fan",
    f"{HEAT}/cooling_device0/cur_state": "1",
    f"{HEAT}/cooling_device1/type": "cpu-throttle-alert",
    f"{HEAT}/cooling_device1/cur_state": "0",
}


@pytest.fixture
def root(tmp_path):
    for name, text in JETSON.items():
        write(tmp_path, name, text)
    return tmp_path


def write(root, name, text):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def watched(root, windows=10, **changes):
    with board.Watch(root, period_s=3600.0) as watch:
        for name, text in changes.items():
            write(root, name, text)
    return watch.board(windows)


def test_a_jetson_says_what_it_is(root):
    found = board.device(root)
    assert found.board == "NVIDIA Jetson Orin Nano Developer Kit"
    assert found.system == "L4T R36 (release), REVISION: 4.3"
    assert (found.power_mode, found.cpu) == ("2, MAXN_SUPER", "ARMv8 Processor rev 1 (v8l)")


def test_rails_heat_and_clocks_are_read_with_their_units(root):
    found = watched(root)
    assert found.watts == pytest.approx({"VDD_IN": 6.0, "VDD_SOC": 1.5})  # 5 V times 1.2 A, 0.3 A
    assert found.celsius == {"cpu-thermal": 51.25}
    assert found.megahertz == {"cpu0": (1510.4, 1510.4), "GPU": (612.0, 612.0)}
    assert found.throttled == []
    assert found.joules["VDD_IN"] == pytest.approx(4 * found.joules["VDD_SOC"])
    assert watched(root, windows=1).joules["VDD_IN"] > 0.0


def test_energy_is_power_times_time_over_windows(root):
    watch = board.Watch(root)
    watch._readings, watch._seconds = [board.read(root)], 20.0
    assert watch.board(40).joules["VDD_IN"] == pytest.approx(6.0 * 20.0 / 40)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (f"{CPU}/scaling_max_freq", "1190400", "the highest clock of cpu0 fell from 1728 to 1190 MHz"),
        (f"{GPU}/max_freq", "306000000", "the highest clock of GPU fell from 1020 to 306 MHz"),
        ("sys/class/hwmon/hwmon2/oc3_event_cnt", "6", "hwmon2/oc3_event_cnt rose from 4 to 6"),
        (f"{HEAT}/cooling_device1/cur_state", "1", "cpu-throttle-alert (cooling_device1) rose from 0 to 1"),
    ],
)
def test_a_clock_that_was_held_back_is_told(root, file, text, said):
    assert watched(root, **{file: text}).throttled == [said]


def test_a_fan_that_turns_faster_holds_no_clock_back(root):
    assert watched(root, **{f"{HEAT}/cooling_device0/cur_state": "3"}).throttled == []


def test_what_is_not_there_is_left_out_and_never_zero(tmp_path):
    found, device = watched(tmp_path), board.device(tmp_path)
    assert not any((found.watts, found.joules, found.celsius, found.megahertz, found.throttled))
    assert (device.board, device.power_mode) == ("", "")
