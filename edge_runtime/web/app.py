"""The routes as a Starlette application: what comes in is bounded and checked, what goes out has its headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edge_runtime.errors import AuscultError
from edge_runtime.web.acting import named
from edge_runtime.web.door import Door
from edge_runtime.web.exchange import LONGEST_BODY, Answer, Asked, Refused, nameable, refusal, told
from edge_runtime.web.key import DAYS
from edge_runtime.web.place import Place
from edge_runtime.web.routes import PAGES, ROUTES, Route

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

STATIC = Path(__file__).with_name("static")
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
AT_ONCE = 4  # requests that are worked on; the others wait
WORK_S = 1.0  # seconds that a sign-in with a wrong token waits
COOKIE = "Path=/; HttpOnly; SameSite=Strict"
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-cache",
}


class SignIn(msgspec.Struct):
    """Who wants to act."""

    who: str
    token: str


class Page:
    """One page: what it is of, and who may come in."""

    def __init__(self, place: Place, door: Door) -> None:
        self.place, self.door = place, door

    def application(self) -> Starlette:
        """For a server."""
        import anyio
        from starlette import applications, routing

        self._work = anyio.CapacityLimiter(AT_ONCE)
        routes = [routing.Route(one.path, self._api(one), methods=[one.method]) for one in ROUTES]
        for path, found in (("/api/me", self._me), ("/api/sign-in", self._sign_in), ("/api/sign-out", self._sign_out)):
            routes.append(routing.Route(path, self._free(found), methods=["GET" if found == self._me else "POST"]))
        for path in PAGES:
            routes.append(routing.Route(path, self._free(lambda asked: static("index.html")), methods=["GET"]))
        routes.append(routing.Route("/static/{name}", self._free(lambda asked: static(asked.names["name"]))))
        made = applications.Starlette(routes=routes, exception_handlers={404: _missing, 405: _missing})
        made.router.redirect_slashes = False
        return made

    def _api(self, route: Route) -> Callable[[Request], Awaitable[Response]]:
        """A route that may need the token; its work is done in a thread."""

        async def endpoint(request: Request) -> Response:
            import anyio.to_thread

            async def answer(asked: Asked) -> Answer:
                return await anyio.to_thread.run_sync(route.handler, self.place, asked, limiter=self._work)

            return await self._checked(request, False, answer)

        return endpoint

    def _free(self, handler: Callable[[Asked], Answer | Awaitable[Answer]]) -> Callable[[Request], Awaitable[Response]]:
        """What is needed to sign in; it tells nothing of the machines."""

        async def endpoint(request: Request) -> Response:
            async def answer(asked: Asked) -> Answer:
                found = handler(asked)
                return found if isinstance(found, Answer) else await found

            return await self._checked(request, True, answer)

        return endpoint

    async def _checked(self, request: Request, free: bool, answer: Callable[[Asked], Awaitable[Answer]]) -> Response:
        asked = _asked(request)
        try:
            who = self.door.check(asked, free)
            body = await _body(request) if asked.method == "POST" else b""
            return _response(await answer(msgspec.structs.replace(asked, who=who, body=body)))
        except Refused as error:
            return _response(refusal(error.status, str(error)))
        except AuscultError as error:
            return _response(refusal(503, str(error)))
        except OSError as error:
            words = f"{Path(error.filename or self.place.state).name}: {error.strerror or error}"
            return _response(refusal(503, f"{words}; see that the disk is there, and neither full nor read-only"))

    def _me(self, asked: Asked) -> Answer:
        """GET /api/me: who is signed in, and whether that is needed to read."""
        try:
            who = self.door.who(asked)
        except Refused:
            who = None
        return told({"who": who, "open": not self.door.public, "site": self.place.name if who is not None else ""})

    async def _sign_in(self, asked: Asked) -> Answer:
        """POST /api/sign-in {who, token} -> a cookie."""
        import anyio

        try:
            given = msgspec.json.decode(asked.body, type=SignIn)
        except msgspec.MsgspecError as error:
            raise Refused(400, f"{error}; nothing is done") from None
        who = named(given.who)
        if not self.door.key.opens(given.token):
            await anyio.sleep(WORK_S)
            raise Refused(401, "this is not the token; it is in the file page.token of the state folder")
        secure = "; Secure" if asked.headers.get("x-forwarded-proto") == "https" else ""
        cookie = f"{self.door.cookie}={self.door.key.cookie(who)}; Max-Age={DAYS * 86_400}; {COOKIE}{secure}"
        return told({"who": who}, headers={"set-cookie": cookie})

    def _sign_out(self, asked: Asked) -> Answer:
        """POST /api/sign-out."""
        return told({}, headers={"set-cookie": f"{self.door.cookie}=; Max-Age=0; {COOKIE}"})


def static(name: str) -> Answer:
    """One of the page's own files."""
    file = STATIC / nameable(name)
    if file.parent != STATIC or file.suffix not in KINDS or not file.is_file():
        raise Refused(404, "no such file")
    return Answer(file.read_bytes(), kind=f"{KINDS[file.suffix]}; charset=utf-8")


def _asked(request: Request) -> Asked:
    server = request.scope.get("server") or ("", 0)
    return Asked(
        request.method if request.method != "HEAD" else "GET",
        request.url.path,
        dict(request.headers),
        {name: str(value) for name, value in request.path_params.items()},
        dict(request.query_params),
        address=str(server[0]),
    )


async def _body(request: Request) -> bytes:
    from starlette.requests import ClientDisconnect

    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > LONGEST_BODY:
                raise Refused(413, f"a body of more than {LONGEST_BODY} bytes; nothing is done")
    except ClientDisconnect:  # nobody hears it
        raise Refused(408, "the body did not come; nothing is done") from None
    return body


def _response(answer: Answer) -> Response:
    from starlette import responses

    headers = {**HEADERS, **answer.headers}
    if answer.file is not None:
        return responses.FileResponse(answer.file, media_type=answer.kind, headers=headers)
    return responses.Response(answer.body, answer.status, {**headers, "content-type": answer.kind})


async def _missing(request: Request, error: Any) -> Response:
    status: int = error.status_code
    if status == 404 and "text/html" in request.headers.get("accept", ""):  # a person, who reads it there
        return _response(msgspec.structs.replace(static("index.html"), status=404))
    words = "there is nothing here" if status == 404 else "not in this way"
    return _response(refusal(status, words))
