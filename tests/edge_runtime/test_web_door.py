"""Who may read, who may act, and what of others is refused; the token and the process around it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

pytest.importorskip("starlette", reason="pip install 'auscult[web]'")
pytest.importorskip("uvicorn", reason="pip install 'auscult[web]'")

from edge_runtime.errors import ConfigError
from edge_runtime.journal import Journal
from edge_runtime.web import door, key
from tests.conftest import ROOT
from tests.edge_runtime.pages import Page
from tests.edge_runtime.test_web_api import made  # noqa: F401 - a fixture

ACT = "/api/machines/fan/anomaly/ack"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Of a folder that nobody listens for."""
    folder = tmp_path_factory.mktemp("page")
    Journal(folder).close()
    page = Page(folder)
    yield page
    page.close()


@pytest.fixture
def own(tmp_path, made):  # noqa: F811
    """One that a test may end."""
    Journal(tmp_path).close()
    return made(Page(tmp_path))


def test_reading_is_open_on_loopback_and_acting_is_not(page):
    assert page.get("/api/state")["listening"]["state"] == "gone"
    assert page.get("/api/me") == {"who": None, "open": True, "site": ""}
    for path in (ACT, "/api/support", "/api/events/x/label"):
        status, _, told = page.ask("POST", path, {"who": "ann"})
        assert status == 401 and "page.token" in told["error"]
    assert page.program(ACT, {"who": "ann"})[0] == 503  # past the door: nobody listens
    wrong = page.ask("POST", ACT, {"who": "ann"}, authorization="Bearer aaaa-bbbb-cccc-dddd")
    assert wrong[0] == 401 and "not the token" in wrong[2]["error"]


def test_who_signs_in_has_a_cookie_that_outlives_the_process_and_dies_with_the_token(own, tmp_path, made):  # noqa: F811
    page = own
    status, headers, _ = page.ask("POST", "/api/sign-in", {"who": "Jürgen  K.", "token": page.token.upper()})
    assert status == 401
    status, headers, told = page.ask(
        "POST", "/api/sign-in", {"who": "Jürgen  K.", "token": page.token.replace("-", "")}
    )
    assert (status, told) == (200, {"who": "Jürgen K."})
    said = headers["set-cookie"]
    assert "HttpOnly" in said and "SameSite=Strict" in said and "Secure" not in said and page.token not in said
    https = page.ask("POST", "/api/sign-in", {"who": "ann", "token": page.token}, x_forwarded_proto="https")
    assert https[1]["set-cookie"].endswith("; Secure")
    value = said.split(";")[0].partition("=")[2]
    assert page.end()[0] == 0
    again = made(Page(tmp_path))
    cookie = f"auscult_{again.port}={value}"
    assert again.ask("GET", "/api/me", cookie=f"other=1; {cookie}")[2]["who"] == "Jürgen K."
    assert again.ask("POST", ACT, {}, cookie=cookie)[0] == 503
    again.end()
    (tmp_path / key.FILE).unlink()
    third = made(Page(tmp_path))
    assert third.ask("POST", ACT, {}, cookie=f"auscult_{third.port}={value}")[0] == 401


def test_a_cookie_that_is_not_ours_is_nobody(tmp_path):
    one = key.load(tmp_path / key.FILE)
    good = one.cookie("ann")
    name, given, signature = good.split(".")
    assert one.who(good) == "ann"
    forged = [
        good[:-1] + ("0" if good[-1] != "0" else "1"),
        f"Ym9i.{given}.{signature}",
        f"{name}.9{given}.{signature}",
    ]
    for bad in [*forged, "", ".", "..", "a.b.c", "ä.1.2", signature]:
        assert one.who(bad) == ""


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),  # another page of the same computer
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/x-www-form-urlencoded"}, 415),
        ({"host": "evil.example"}, 421),
        ({"host": "evil.example:80"}, 421),
        ({"host": ""}, 421),
    ],
)
def test_what_another_site_sends_is_refused_with_the_cookie_too(page, headers, status):
    cookie = page.sign_in()
    assert page.ask("POST", ACT, {}, cookie=cookie, origin=page.url, sec_fetch_site="same-origin")[0] == 503
    found, answer, _ = page.ask("POST", ACT, {}, **{"cookie": cookie, **headers})
    assert found == status and "access-control-allow-origin" not in answer


def test_a_name_that_leads_here_by_rebinding_reads_nothing(page):
    assert page.ask("GET", "/api/state", host=f"evil.example:{page.port}")[0] == 421
    assert page.ask("GET", "/", host="evil.example")[0] == 421
    for name in ("localhost", f"localhost:{page.port}", "127.0.0.1", "[::1]:80", socket.gethostname()):
        assert page.ask("GET", "/api/state", host=name)[0] == 200
    assert page.ask("GET", "/api/state", sec_fetch_site="cross-site", sec_fetch_mode="no-cors")[0] == 403
    assert page.ask("OPTIONS", "/api/state", origin="http://evil.example")[0] == 405


@pytest.mark.parametrize("words", [("--host", "0.0.0.0"), ("--allow-host", "plant.example")])
def test_beyond_loopback_everything_but_the_sign_in_takes_the_token(tmp_path, made, words):  # noqa: F811
    Journal(tmp_path).close()
    page = made(Page(tmp_path, *words))
    paths = [
        "/api/state",
        "/api/health",
        "/api/events",
        "/api/history",
        "/api/notices",
        "/metrics",
        "/api/machines/fan",
    ]
    for path in paths:
        assert page.ask("GET", path)[0] == 401
        assert page.ask("GET", path, authorization=f"Bearer {page.token}")[0] in (200, 404)
    assert page.get("/api/me") == {"who": None, "open": False, "site": ""}
    assert page.ask("GET", "/")[0] == page.ask("GET", "/static/main.js")[0] == 200
    cookie = page.sign_in()
    assert page.ask("GET", "/api/state", cookie=cookie)[0] == 200


def test_what_a_proxy_passes_on_takes_the_token(page):
    for name in ("x-forwarded-for", "forwarded", "x-real-ip", "via"):
        assert page.ask("GET", "/api/state", **{name: "192.0.2.7"})[0] == 401


@pytest.mark.parametrize("path", ["/", "/api/state", "/static/style.css", "/none", "/metrics", "/api/events/x"])
def test_every_answer_has_its_headers(page, path):
    headers = page.ask("GET", path)[1]
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"


def test_the_page_has_no_inline_script_or_style_and_loads_nothing_from_elsewhere():
    for file in (ROOT / "edge_runtime/web/static").glob("*"):
        text = file.read_text()
        assert "<style" not in text and "innerHTML" not in text and " style=" not in text, file
        assert "http" not in text.replace("http://www.w3.org/2000/svg", ""), file
    html = (ROOT / "edge_runtime/web/static/index.html").read_text()
    assert html.count("<script") == 1 and 'src="/static/main.js"></script>' in html


def test_bodies_and_headers_are_bounded(page):
    status, _, told = page.ask("POST", "/api/sign-in", b"x" * 20_000, content_type="application/json")
    assert status == 413 and "nothing is done" in told["error"]
    with socket.create_connection(("127.0.0.1", page.port)) as line, contextlib.suppress(ConnectionError):
        line.sendall(b"GET / HTTP/1.1\r\nx: ")
        for _ in range(1000):
            line.sendall(b"y" * 1000)
        assert line.recv(99).startswith(b"HTTP/1.1 400")
    assert page.get("/api/me")["open"]


def test_the_token_is_made_once_for_its_owner_alone_and_said_nowhere(own, tmp_path):
    page = own
    file, token = tmp_path / key.FILE, page.token
    assert file.stat().st_mode & 0o777 == 0o600 and len(token.replace("-", "")) == 32
    page.sign_in()
    page.ask("POST", "/api/sign-in", {"who": "ann", "token": "wrong-wrong-wrong"})
    assert key.load(file).opens(token) and file.read_text().strip() == token
    code, took, said = page.end()
    assert code == 0 and took < 2.0 and str(file) in said and token not in said


def test_a_token_that_others_can_read_or_guess_is_refused(tmp_path):
    file = tmp_path / "token"
    file.write_text("short\n")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="fewer than 16"):
        key.load(file)
    file.write_text("long-enough-but-for-all\n")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        key.load(file)
    file.chmod(0o600)
    assert key.load(file).opens("long-enough-but-for-all") and not key.load(file).opens("long-enough-but-for-al")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_loopback_is_known(host):
    assert door.is_loopback(host) and not door.is_loopback("0.0.0.0") and not door.is_loopback("192.0.2.1")


def typed(*words, environment=None):
    command = [sys.executable, "-m", "edge_runtime", "serve", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=30, env=environment)
    return done.returncode, done.stderr


def test_mistakes_are_one_line_and_exit_code_2(tmp_path, page):
    for words, said in [
        ((tmp_path, "--port", page.port), "give another --port"),
        ((tmp_path, "--host", "192.0.2.1"), "give another --host"),
        ((tmp_path, "--host", "no such host"), "no address of this computer"),
        ((tmp_path / "none",), "no such file or folder"),
    ]:
        code, error = typed(*words)
        assert code == 2 and error.startswith("error: ") and len(error.splitlines()) == 1 and said in error


def test_without_the_extra_it_says_what_to_install(tmp_path):
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text("import sys\nsys.modules['uvicorn'] = None\n")
    environment = {**os.environ, "PYTHONPATH": f"{blocked}:{ROOT}"}
    code, error = typed(tmp_path, environment=environment)
    assert (code, error) == (2, "error: serve: uvicorn: not installed; pip install 'auscult[web]'\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_within_two_seconds_whatever_hangs_on_it(tmp_path, made, number):  # noqa: F811
    journal = Journal(tmp_path)  # a listener that answers nobody
    page = made(Page(tmp_path))
    idle = socket.create_connection(("127.0.0.1", page.port))
    half = socket.create_connection(("127.0.0.1", page.port))
    words = b"POST /api/sign-in HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 99\r\n"
    half.sendall(words)
    bodiless = socket.create_connection(("127.0.0.1", page.port))
    bodiless.sendall(words + b"\r\n{")
    asking = threading.Thread(target=lambda: _tried(lambda: page.program(ACT, {"who": "ann"})))
    asking.start()
    time.sleep(0.3)
    began = time.monotonic()
    page.process.send_signal(number)
    page.process.wait(10)
    assert time.monotonic() - began < 2.0
    asking.join()
    for one in (idle, half, bodiless):
        one.close()
    journal.close()


def test_who_connects_and_says_nothing_or_half_of_something_is_let_go(tmp_path, made):  # noqa: F811
    page = made(Page(tmp_path, before="from edge_runtime.web import server; server.ASKED_S = 2.0"))
    head = b"POST /api/sign-in HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 99\r\n"
    said = b"", b"GET / HT", head + b"\r\n{", b"GET /api/me HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\nGET / HT"
    with contextlib.ExitStack() as lines:
        for number in range(70):
            line = lines.enter_context(socket.create_connection(("127.0.0.1", page.port)))
            line.sendall(said[number % 4])
            time.sleep(0.005)  # more at once than wait to be accepted come a second later
        assert page.ask("GET", "/api/me")[0] == 503
        began = time.monotonic()
        while page.ask("GET", "/api/me")[0] != 200:
            assert time.monotonic() - began < 6.0
            time.sleep(0.1)
    assert "Traceback" not in page.end()[2]


def _tried(what):
    try:
        what()
    except OSError:  # it ended before it answered
        return
