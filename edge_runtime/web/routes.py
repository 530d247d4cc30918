"""Every route, in one table: docs/page.md tells of each, and a test holds that."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from edge_runtime.web import acting, happened, health, metrics, overview, support
from edge_runtime.web.exchange import Answer, Asked
from edge_runtime.web.place import Place


class Route(NamedTuple):
    """One way to ask."""

    method: Literal["GET", "POST"]
    path: str
    handler: Callable[[Place, Asked], Answer]


ROUTES = [
    Route("GET", "/api/state", overview.state),
    Route("GET", "/api/machines/{machine}", happened.machine),
    Route("GET", "/api/machines/{machine}/scores", happened.scores),
    Route("POST", "/api/machines/{machine}/{kind}/{action}", acting.act),
    Route("GET", "/api/history", happened.history),
    Route("GET", "/api/notices", happened.notices),
    Route("GET", "/api/events", happened.listed),
    Route("GET", "/api/events/{id}", happened.one),
    Route("GET", "/api/events/{id}/{name}", happened.file),
    Route("POST", "/api/events/{id}/label", happened.label),
    Route("POST", "/api/events/{id}/mark", happened.mark),
    Route("GET", "/api/health", health.health),
    Route("POST", "/api/support", support.support),
    Route("GET", "/metrics", metrics.metrics),
]
PAGES = ["/", "/machines/{machine}", "/events", "/events/{id}", "/health"]  # all are static/index.html
