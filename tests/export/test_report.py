"""The latency and accuracy report: what it writes, what it says, and when it fails."""

import re
import shutil
import subprocess
import sys
from html import unescape

import msgspec
import pytest

from edge_runtime import bundle, config
from edge_runtime.bundle import Accuracy
from edge_runtime.cli import run_command
from export import budgets, compare, networks, pack, report
from export.latency import baseline, page, table
from export.latency.content import AFTER, Report, Stage
from tests.conftest import ROOT
from tests.export.conftest import MODEL
from tests.export.test_listening_report import as_text
from tests.export.test_report_board import JETSON, write

FEW = ["--windows", "4", "--runs", "1", "--machines", "1", "2"]


def typed(*words):
    return run_command(report.main, [str(word) for word in words])


@pytest.fixture(scope="module")
def measured(fitted_once, clips, tmp_path_factory):
    """(folder, Report) of a bundle with a network, with accuracy, on a Jetson's sensors."""
    root = tmp_path_factory.mktemp("report")
    for name, text in JETSON.items():
        write(root / "jetson", name, text)
    pack.pack(fitted_once, root / "small.bundle")
    words = [
        root / "small.bundle",
        *FEW,
        "--data",
        clips[0].path.parents[3],
        "-o",
        root / "out",
        "--root",
        root / "jetson",
    ]
    assert typed(*words) == 0
    return root / "out", config.load_json(root / "out" / "report.json", Report)


def slower(old, factor):
    """The same report with all times of the stages multiplied."""
    loads = [
        msgspec.structs.replace(load, stages=[_times(stage, factor) for stage in load.stages]) for load in old.loads
    ]
    return msgspec.structs.replace(old, loads=loads)


def _times(stage, factor):
    return Stage(stage.name, *(factor * value for value in (stage.p50, stage.p95, stage.p99, stage.max)), stage.derived)


def test_the_report_holds_latency_accuracy_board_and_budgets(measured):
    folder, found = measured
    assert sorted(file.name for file in folder.iterdir()) == ["report.html", "report.json"]
    assert [load.machines for load in found.loads] == [1, 2]
    assert found.process.memory_mib.value > 20.0
    assert list(found.accuracy.mean.forms) == [
        compare.FP32_OWN,
        networks.FP32,
        networks.FP16,
        networks.CPU,
        networks.TRT,
    ]
    assert (found.device.power_mode, found.board.watts["VDD_IN"]) == ("2, MAXN_SUPER", pytest.approx(6.0))
    assert {"parameters", "real-time factor, file", "resident memory, live"} <= {one.what for one in found.budgets}
    assert any(one.what.startswith("fan: Spearman") for one in found.budgets)


def test_the_page_shows_each_figure_and_loads_nothing(measured):
    folder, found = measured
    html = (folder / "report.html").read_text()
    text = unescape(as_text(html))
    for figure in (f"{found.process.first_ms.value:.0f} ms", "MAXN_SUPER", "VDD_IN 6.00 W", "cpu-thermal 51.2 °C"):
        assert figure in text
    auc = found.accuracy.mean.forms[networks.TRT].auc
    assert f"{100 * auc.value:.1f} % [{100 * auc.low:.1f}, {100 * auc.high:.1f}]" in text
    for budget in found.budgets:
        assert budget.what in text and (budget.figure or "–") in text
    assert html.count('<rect class="stage') > 4 and "Only 4 windows were timed" in text
    assert not re.search(r"https?:", html, flags=re.I) and "<script" not in html
    assert "@import" not in html and "url(" not in html and "default-src 'none'" in html


def test_the_table_and_the_json_on_the_terminal_say_the_same(measured, packed, tmp_path, capsys):
    _, found = measured
    text = table.table(found)
    for line in ("block to decision", "real-time factor of all", "energy a window", "INT8, TensorRT", "alarms a day"):
        assert line in text
    assert typed(packed, *FEW, "-o", tmp_path / "a", "--json") == 0
    told = msgspec.json.decode(capsys.readouterr().out, type=Report)
    assert told == config.load_json(tmp_path / "a" / "report.json", Report)


def test_a_bundle_without_a_network_or_data_has_latency_alone(packed, tmp_path, capsys):
    assert typed(packed, *FEW, "-o", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "accuracy: not measured here; --data DATA measures it" in said and "no network" not in said
    found = config.load_json(tmp_path / "out" / "report.json", Report)
    assert (found.accuracy, found.network, found.parameters) == (None, "", 0)
    text = as_text((tmp_path / "out" / "report.html").read_text())
    assert "no network" in text and "Not measured here: --data DATA measures it." in text


def test_a_bundle_tells_the_accuracy_that_it_was_packed_with(measured):
    found = msgspec.structs.replace(measured[1], accuracy=None, told={"fan": Accuracy(0.912, 0.8, 0.915, 0.81, 0.9871)})
    assert re.search(r"fan +91\.2 +80\.0 +91\.5 +0\.9871", table.table(found))


# --- the baseline


def against(new, old, tolerance=0.1):
    return baseline.versus(new, old, ROOT / "old.json", tolerance)


def test_nothing_is_worse_than_itself(measured):
    found = against(measured[1], measured[1], tolerance=0.0)
    assert found.worse == [] and found.reasons == []
    assert {line.ratio for line in found.lines if line.old} == {1.0}


def test_what_got_slower_than_the_tolerance_is_a_regression(measured):
    new = slower(measured[1], 1.2)
    worse = {line.name for line in against(new, measured[1]).worse}
    assert worse == {f"{n}: {AFTER}, {p} ms" for n in ("1 machine", "2 machines") for p in ("p50", "p95")}
    assert against(new, measured[1], tolerance=0.25).worse == []
    faster = against(slower(measured[1], 0.5), measured[1])
    assert faster.worse == [] and baseline.BETTER in {line.verdict for line in faster.lines}


def test_a_loss_of_accuracy_is_a_regression_whatever_the_device(measured):
    old = measured[1]
    mean = old.accuracy.mean
    form = mean.forms[networks.CPU]
    auc = msgspec.to_builtins(form.auc) | {"value": form.auc.value - 0.006}
    lost = msgspec.structs.replace(form, auc=type(form.auc)(**auc))
    mean = msgspec.structs.replace(mean, forms=mean.forms | {networks.CPU: lost})
    new = msgspec.structs.replace(old, accuracy=msgspec.structs.replace(old.accuracy, mean=mean))
    other = msgspec.structs.replace(new, device=msgspec.structs.replace(new.device, cpu="another"))
    for one in (new, other):
        assert [line.name for line in against(one, old).worse] == [f"AUC, {networks.CPU}"]
    elsewhere = msgspec.structs.replace(new, data="other clips")
    assert against(elsewhere, old).worse == []


@pytest.mark.parametrize("who", ["new", "old"])
def test_a_throttled_run_is_not_comparable(measured, who):
    throttled = msgspec.structs.replace(measured[1].board, throttled=["the highest clock of cpu0 fell"])
    hot = msgspec.structs.replace(slower(measured[1], 2.0), board=throttled)
    new, old = (hot, measured[1]) if who == "new" else (measured[1], hot)
    found = against(new, old)
    assert found.worse == [] and "was throttled: the highest clock of cpu0 fell" in found.reasons[0]
    assert {line.verdict for line in found.lines if "AUC" not in line.name} == {baseline.NOT}
    assert ("NOT comparable" in table.table(new, found)) == (who == "new")
    said = page.findings(new, found)
    assert ("The clock was held back" in " ".join(said)) == (who == "new")


def test_another_device_is_not_comparable(measured):
    device = msgspec.structs.replace(measured[1].device, power_mode="0, 15W")
    found = against(slower(measured[1], 2.0), msgspec.structs.replace(measured[1], device=device))
    assert found.worse == [] and found.reasons == ["another device: power_mode 2, MAXN_SUPER, the baseline's 0, 15W"]


def test_a_regression_ends_with_exit_code_1(packed, tmp_path, capsys):
    assert typed(packed, *FEW, "-o", tmp_path / "a") == 0
    old = config.load_json(tmp_path / "a" / "report.json", Report)
    for name, factor in (("fast", 0.01), ("slow", 100.0)):
        config.save_json(tmp_path / f"{name}.json", slower(old, factor))
    capsys.readouterr()
    assert typed(packed, *FEW, "-o", tmp_path / "b", "--baseline", tmp_path / "fast.json") == 1
    said = capsys.readouterr()
    assert "worse: 1 machine: block to decision, p50 ms" in said.err and "new/old" in said.out
    assert "Worse than the baseline" in as_text((tmp_path / "b" / "report.html").read_text())
    words = ["--baseline", tmp_path / "slow.json", "--tolerance", "100"]
    assert typed(packed, *FEW, "-o", tmp_path / "c", *words) == 0


# --- budgets and mistakes


def test_budgets_pass_fail_or_are_not_measured():
    speed = {one.what: one for one in budgets.of_speed(MODEL, {"file": 0.014, "live": 0.036}, 91.0, 299.0)}
    passed = {what: one.passed for what, one in speed.items()}
    assert passed["real-time factor, file"] is True and passed["real-time factor, live"] is False
    assert passed["resident memory, file"] is False and passed["process start to first score, file"] is True
    assert passed["resident memory, live"] is None and speed["resident memory, live"].note == "needs a microphone"
    large = msgspec.structs.replace(MODEL, macs=budgets.MACS + 1)
    factors = [one for one in budgets.of_speed(large, {"file": 0.9, "live": 0.9}, 1.0, 1.0) if "factor" in one.what]
    assert [one.passed for one in factors] == [None, None] and factors[0].figure == "0.9000"
    assert [one.passed for one in budgets.of_project(None)] == [None] * 4
    mel = list(budgets.of_project(budgets.Mel(difference_db=2e-3, times_as_fast=10.0)))
    assert [(one.passed, one.figure) for one in mel[:2]] == [(True, "10.0 times"), (False, "2.0e-03 dB")]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["BUNDLE", "--machine", "valve"], "unknown machine valve"),
        (["BUNDLE", "--windows", "0"], "--windows 0"),
        (["BUNDLE", "--machines", "2", "2"], "--machines 2 2"),
        (["BUNDLE", "--tolerance", "-1"], "--tolerance -1.0"),
        (["BUNDLE", "--baseline", "nothing.json"], "nothing.json: No such file"),
        (["BUNDLE", "--data", "nowhere"], "nowhere"),
        (["BUNDLE", "--run", "nowhere"], "--run is for accuracy"),
        (["BUNDLE", "--backend", "tensorrt"], "give --engine FILE"),
        (
            ["BUNDLE", "--engine", "no.engine"],
            "--engine no.engine: nothing here runs it; give --backend tensorrt, or --data",
        ),
        (["BUNDLE", "--backend", "tensorrt", "--engine", "no.engine"], "has no network"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(packed, tmp_path, capsys, wrong, said):
    words = [word.replace("BUNDLE", str(packed)) for word in wrong]
    assert typed(*words, *FEW[2:4], "-o", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out-*"))


def test_a_baseline_of_another_format_is_refused(packed, measured, tmp_path, capsys):
    told = msgspec.to_builtins(measured[1]) | {"format": 7}
    config.save_json(tmp_path / "old.json", told)
    assert typed(packed, "--baseline", tmp_path / "old.json", "-o", tmp_path / "out") == 2
    assert "format 7 of a report, wanted 1" in capsys.readouterr().err


def test_a_device_needs_neither_torch_nor_onnx_for_it():
    heavy = {"torch", "onnx", "sklearn", "jinja2", "matplotlib"}
    code = f"import sys, export.report; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("width", [500, 1200])
def test_a_browser_shows_the_page_no_wider_than_the_screen(measured, tmp_path, width):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("needs a browser: apt install chromium")
    probe = "<script>const r = document.documentElement; document.title = r.scrollWidth - r.clientWidth;</script>"
    html = (measured[0] / "report.html").read_text().replace("style-src", "script-src 'unsafe-inline'; style-src", 1)
    (tmp_path / "report.html").write_text(html + probe)
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    options += " --disable-component-update --disable-sync --enable-logging=stderr --dump-dom"
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [browser, *options.split(), f"--window-size={width},900", profile, (tmp_path / "report.html").as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "CONSOLE" not in ran.stderr, ran.stderr
    assert re.findall(r"<title>(.*?)</title>", ran.stdout)[0] == "0"


def test_the_bundle_is_not_changed_by_it(measured):
    assert bundle.open_bundle(measured[0].parent / "small.bundle").machines == ["fan", "pump"]
