"""The report in a real browser: no errors, scores read out, nothing wider than the screen."""

import re
import shutil
import subprocess

import pytest

from export.listening_report import write_report
from tests.export.test_listening_report import full_page

PROBE = """<script>
const figure = document.querySelector("figure"), plot = figure.querySelector(".plot");
const read = () => figure.querySelector(".readout").textContent;
figure.dispatchEvent(new KeyboardEvent("keydown", {key: "End"}));
const byKey = read(), box = plot.getBoundingClientRect();
plot.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + box.width * 0.34, clientY: box.top + 90}));
const root = document.documentElement;
document.title = [byKey, read(), root.scrollWidth - root.clientWidth].join(" | ");
</script>"""


def test_a_browser_shows_the_page_without_errors_and_reads_scores_out(tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("needs a browser: apt install chromium")
    file = tmp_path / "report.html"
    write_report(file, full_page())
    file.write_text(file.read_text() + PROBE)
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    options += " --disable-component-update --disable-sync --enable-logging=stderr --dump-dom --window-size=700,900"
    ran = subprocess.run(
        [browser, *options.split(), f"--user-data-dir={tmp_path / 'profile'}", file.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert "CONSOLE" not in ran.stderr, ran.stderr
    title = re.findall(r"<title>(.*?)</title>", ran.stdout)[0]
    assert title.split(" | ") == [
        "32.8 s: score 2.80, above the threshold 1.31, alarm on",
        "11 s: score 1.00, below the threshold 1.31",  # 34 % of 33 s is nearest to the second window's end
        "0",  # pixels that the page is wider than the screen
    ]
