"""A template with what it prints -> one HTML file that loads nothing."""

from pathlib import Path
from typing import Any

from edge_runtime.config import save_text

TEMPLATES = [Path(__file__).parents[1] / room / "templates" for room in ("page", "bench", "latency")]


def write_page(out: Path, template: str, **context: Any) -> None:
    """Write the page, whole or not at all; a name that the template has and the context lacks is an error."""
    import jinja2  # late: a device that measures itself may lack it, and is told so before it begins

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    save_text(out, environment.get_template(template).render(**context))
