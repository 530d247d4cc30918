"""The page as people have it: Chromium, a sound server, a listener; a fault is heard, seen, acknowledged, labelled."""

import contextlib
import http.server
import json
import threading
import time

import pytest

from edge_runtime.journal import Visitor
from tests.conftest import hum
from tests.edge_runtime import browsers, event_made, sound_server
from tests.edge_runtime.conftest import FAULT
from tests.edge_runtime.pages import Page
from tests.edge_runtime.plant import Plant, figure
from tests.edge_runtime.test_alarm_commands import Listener

pytestmark = [*sound_server.NEEDED, *browsers.NEEDED, pytest.mark.plant]
WIDTHS = (360, 1440)


@pytest.fixture
def plant(tmp_path, packed):
    recorder = "recorder: {privacy: sound, before_s: 3.0, after_s: 1.0}"
    plant = Plant(tmp_path, sound_server.opened(), packed, latching=True, more=recorder)
    plant.play()
    plant.start()
    plant.heard()
    yield plant
    plant.close()
    sound_server.closed(plant.server)


@pytest.fixture
def page(plant):
    page = Page(plant.site, environment=plant.environment)
    yield page
    page.close()


@contextlib.contextmanager
def site_of_others(html):
    """Another site's page on this computer; its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def state_of(page):
    return [(one["state"], one["by"]) for one in page.get("/api/state")["alarms"]]


def test_a_fault_is_seen_acknowledged_by_one_of_two_shelved_played_and_labelled(plant, page):
    with browsers.started() as browser:
        ann, bob = browser.open(page.url), browser.open(page.url, 390, 844, color_scheme="dark")
        ann.get_by_text("The machine sounds normal").wait_for()
        plant.quiet()
        plant.play(hum(120, pitch=FAULT))
        plant.wait("alarm", cause="raise")
        began = time.monotonic()
        ann.locator(".banner.alarm").get_by_text("fan: Alarm").wait_for()
        figure("an alarm on the page", seen=time.monotonic() - began)
        bob.get_by_role("button", name="Acknowledge").wait_for()
        before = page.get("/api/state")
        _refused_from_elsewhere(browser, ann, page)

        ann.get_by_role("button", name="Acknowledge").click()
        assert state_of(page) == [("unacknowledged", "")]  # not without the token
        browsers.sign_in(ann, "ann", page.token)
        acted = time.monotonic()
        bob.get_by_text("ann has seen it").wait_for()
        figure("two pages open", seen_on_the_other=time.monotonic() - acted)
        bob.route("**/api/state", lambda route: route.fulfill(json={**before, "now_s": time.time()}))
        bob.get_by_role("button", name="Acknowledge").click()  # what bob sees is old
        browsers.sign_in(bob, "bob", page.token)
        bob.get_by_text("Refused: fan, anomaly: acknowledged: it is acknowledged already").wait_for()
        bob.unroute("**/api/state")

        ann.get_by_role("button", name="Shelve").click()
        ann.get_by_role("button", name="15 minutes").click()
        ann.get_by_label("Why").fill("part ordered")
        ann.get_by_role("dialog").get_by_role("button", name="Shelve").click()
        ann.locator(".card.hidden").get_by_text("Shelved").wait_for()
        bob.locator(".ask.hidden").get_by_text("part ordered").wait_for()
        last = Visitor(page.state).history(1)[0]
        assert (last.state, last.who, last.why) == ("shelved", "ann", "part ordered")
        _heard_again(ann, page)
        _played_and_labelled(ann, page)


def _heard_again(ann, page):
    """What the recorder kept of the fault, while it goes on."""
    ann.get_by_role("navigation").get_by_role("link", name="Events").click()
    ann.get_by_text("400 Hz").first.click()
    ann.get_by_text("it goes on").wait_for()
    ann.get_by_role("button", name="Play").click()
    browsers.until(ann, "document.getElementById('sound').currentTime > 0.3")
    assert page.get("/api/events")["events"][0]["seconds"] > 2.0
    loaded = "[...document.querySelectorAll('.picture img')].map((one) => one.naturalHeight)"
    browsers.until(ann, f"{loaded}.join() === '128,128'")
    assert "dB from normal" in ann.locator("figure").nth(1).inner_text()


def _refused_from_elsewhere(browser, ann, page):
    """A form and a script of another page on this computer: its cookies would be sent along."""
    act = f"{page.url}/api/machines/fan/anomaly/ack"
    form = f'<form method="post" enctype="text/plain" action="{act}"><input name="a"></form>'
    with site_of_others(f"<title>elsewhere</title>{form}") as address:
        stranger = ann.context.new_page()
        stranger.goto(address)
        words = {"method": "POST", "mode": "no-cors", "credentials": "include", "body": "{}"}
        stranger.evaluate(f"fetch({act!r}, {json.dumps(words)}).catch(() => 0)")
        with stranger.expect_response(lambda one: one.url == act) as answer:
            stranger.evaluate("document.forms[0].submit()")
        assert answer.value.status == 403
        stranger.close()
    assert state_of(page) == [("unacknowledged", "")]


def _played_and_labelled(ann, page):
    folder = event_made.make(page.state)
    ann.get_by_role("navigation").get_by_role("link", name="Events").click()
    ann.get_by_text(event_made.WORDS).first.click()
    ann.get_by_role("button", name="Play").click()
    browsers.until(ann, "document.getElementById('sound').currentTime > 0.3")
    assert float(ann.locator(".picture .head").first.get_attribute("x1").rstrip("%")) > 1.0
    ann.locator("body").press("n")
    browsers.until(ann, "!document.getElementById('normal').paused && document.getElementById('sound').paused")
    box = ann.locator(".picture").first.bounding_box()
    ann.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + 20)
    browsers.until(ann, "Math.abs(document.getElementById('sound').currentTime - 6.0) < 1.5")
    ann.get_by_label("fault the machine").check()
    ann.get_by_label("In your words").fill("bearing")
    ann.get_by_role("button", name="Say so").click()
    ann.get_by_text("(this one counts)").wait_for()
    ann.get_by_role("button", name="Keep for good").click()
    ann.get_by_role("button", name="Keep no longer").wait_for()
    said = json.loads((folder / "label.json").read_text())
    assert (said["labels"][0]["what"], said["labels"][0]["who"], said["labels"][0]["why"]) == (
        "fault",
        "ann",
        "bearing",
    )
    assert (said["marked"], said["marked_by"]) == (True, "ann")


def test_every_page_fits_a_phone_says_what_is_not_there_and_is_loud_when_nobody_listens(tmp_path):
    one = Listener(tmp_path)
    one.hears("fan", "anomaly", "alarm")
    event_made.make(tmp_path, privacy="features-only")
    page = Page(tmp_path)
    try:
        with browsers.started() as browser:
            for width in WIDTHS:
                shown = browser.open(page.url, width, 800, timezone_id="Asia/Tokyo")
                shown.get_by_text("Asia/Tokyo").wait_for()
                for path, words in [
                    ("/", "fan: Alarm"),
                    ("/machines/fan", "What happened"),
                    ("/events", event_made.WORDS),
                    (f"/events/{event_made.ID}", "so that nobody's voice is kept"),
                    ("/health", "Make a support dump"),
                    ("/nowhere", "There is nothing here"),
                ]:
                    shown.goto(page.url + path)
                    shown.locator("main").get_by_text(words).first.wait_for()
                    assert browsers.sideways(shown) == 0, (width, path)
            shown.goto(page.url)
            shown.locator(".banner.alarm, .banner.deaf").first.wait_for()
            assert shown.locator("body.stale").count() == 0
            one.kill()
            shown.get_by_text("Nobody listens", exact=True).wait_for()
            assert shown.locator("body.stale").count() == 1 and shown.title().startswith("? Nobody listens")
            assert shown.get_by_role("button", name="Acknowledge").is_disabled()
            page.process.kill()
            shown.get_by_text("No connection", exact=True).wait_for()
            browser.errors[:] = [error for error in browser.errors if "ERR_CONNECTION" not in error]
    finally:
        page.close()
        one.kill()


def test_a_machine_of_which_nothing_is_known_is_in_the_banner_and_a_hidden_tab_keeps_its_connection(tmp_path):
    one = Listener(tmp_path)
    page = Page(tmp_path)
    try:
        told = page.get("/api/state")
        told["machines"][0] |= {"look": "unknown", "word": "Not known", "todo": ""}
        told["machines"][1] |= {"look": "normal", "word": "Normal", "todo": ""}
        with browsers.started() as browser:
            shown = browser.open("about:blank")
            shown.clock.install()
            shown.add_init_script("Object.defineProperty(document, 'hidden', {get: () => true})")
            shown.route("**/api/state", lambda route: route.fulfill(json={**told, "now_s": time.time()}))
            shown.goto(page.url)
            shown.locator(".banner.unknown").get_by_text("fan: Not known").wait_for()
            assert shown.title().startswith("! fan: Not known")
            shown.unroute("**/api/state")
            shown.route("**/api/state", lambda route: None)  # the next look has not come back yet
            shown.clock.run_for(9500)
            assert shown.title().startswith("! fan: Not known")
            shown.clock.run_for(80_000)
            assert shown.title().startswith("? No connection")
    finally:
        page.close()
        one.kill()


def test_a_browser_whose_clock_is_a_year_off_shows_what_is_fresh_as_fresh(plant, page):
    with browsers.started() as browser:
        shown = browser.open("about:blank")
        shown.add_init_script("const now = Date.now; Date.now = () => now() - 365 * 86400 * 1000;")
        shown.goto(page.url)
        shown.get_by_text("The machine sounds normal").wait_for()
        shown.locator(".card").get_by_text("just now").wait_for()
        shown.get_by_text("This device's clock is 365 days behind").wait_for()
