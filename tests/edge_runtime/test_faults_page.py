"""What becomes of the listening when its page is killed; a row of docs/faults.md. Two pages: `test_web_browser.py`."""

import importlib.util
import time

import pytest

from tests.edge_runtime.pages import Page
from tests.edge_runtime.plant import Plant, figure
from tests.edge_runtime.sound_server import NEEDED, closed, opened

WEB = pytest.mark.skipif(importlib.util.find_spec("starlette") is None, reason="pip install 'auscult[web]'")
pytestmark = [*NEEDED, WEB, pytest.mark.plant]


def test_a_page_that_is_killed_in_the_middle_of_its_work_costs_no_window(tmp_path, packed):
    plant = Plant(tmp_path, opened(), packed)
    page = again = None
    try:
        plant.play()
        plant.start()
        plant.heard()
        page = Page(plant.site, environment=plant.environment)
        assert page.get("/api/state")["listening"]["fresh"]
        page.process.kill()
        killed = time.monotonic()
        plant.heard(after=killed + 2.0)
        assert not [event for event in plant.look() if event["event"] in ("lost", "alarm")]
        began = time.monotonic()
        again = Page(plant.site, environment=plant.environment)
        assert again.get("/api/state")["listening"]["fresh"]
        figure("page killed", again=time.monotonic() - began)
        code, _ = plant.end()
        assert code == 0 and plant.whole()[0]
    finally:
        for one in filter(None, (page, again)):
            one.close()
        plant.close()
        closed(plant.server)
