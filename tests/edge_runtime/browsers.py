"""A real browser: Debian's Chromium through Playwright; errors on its console are errors."""

import contextlib
import importlib.util
import shutil
import time

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
NEEDED = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt install chromium"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="pip install playwright"),
    pytest.mark.skipif(importlib.util.find_spec("starlette") is None, reason="pip install 'auscult[web]'"),
]
ANSWERS = ("status of 401", "status of 403", "status of 409", "status of 404", "status of 503")  # said on the page


class Browser:
    """Opens pages, and keeps what went wrong on them."""

    def __init__(self, chromium):
        self._chromium, self.errors = chromium, []

    def open(self, url, width=1280, height=900, **options):
        """A person's own browser, at a page."""
        context = self._chromium.new_context(viewport={"width": width, "height": height}, **options)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._told)
        page.goto(url)
        return page

    def _told(self, message):
        if message.type == "error" and not any(words in message.text for words in ANSWERS):
            self.errors.append(message.text)


@contextlib.contextmanager
def started():
    """One browser; what went wrong on its pages is an error at its end."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        browser = Browser(chromium)
        yield browser
        chromium.close()
    assert browser.errors == []


def sign_in(page, who, token):
    """In the dialog that is open."""
    page.get_by_label("Your name").fill(who)
    page.get_by_label("Token").fill(token)
    page.get_by_role("dialog").get_by_role("button", name="Sign in").click()
    page.get_by_role("dialog").wait_for(state="detached")


def until(page, true, seconds=15.0):
    """Wait for an expression; the page's own policy forbids the browser to wait for text that it evaluates."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(true):
        assert time.monotonic() < deadline, true
        page.wait_for_timeout(50)


def sideways(page):
    """Pixels that the page is wider than the screen."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
