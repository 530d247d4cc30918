"""What the pages tell people to type exists, with every option that they name; and every command is on a page."""

import re
import subprocess
import sys
from collections import defaultdict
from functools import cache

import pytest

from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "jetson/README.md"]
TYPED = re.compile(
    r"^ {4}(?:\S*/)?python3? (?P<command>-m edge_runtime [\w-]+|[\w/]+\.py)(?P<rest>[^#\n]*)", re.MULTILINE
)


def typed() -> dict[str, set[str]]:
    """Command -> the options that some page names with it."""
    found: dict[str, set[str]] = defaultdict(set)
    for page in PAGES:
        for match in TYPED.finditer(page.read_text()):
            found[match["command"]] |= set(re.findall(r"--[a-z][a-z-]*", match["rest"]))
    return found


@cache
def help_of(command: str) -> str:
    done = subprocess.run([sys.executable, *command.split(), "--help"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, f"python {command} --help: {done.stderr}"
    parts = re.search(r"\{([a-z,]+)\}\s+\.\.\.", done.stdout)  # a command of several: learn, imprint
    more = [help_of(f"{command} {part}") for part in parts[1].split(",")] if parts else []
    return "\n".join([done.stdout, *more])


@pytest.mark.parametrize(
    ("command", "options"), typed().items(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_the_pages_tell_to_type_exists(command, options):
    if "torch" in command or command.startswith(("train/", "export/")):
        pytest.importorskip("torch", reason="pip install '.[export]': training and export need torch")
    words = help_of(command)
    for option in options:
        assert option in words, f"python {command} has no {option}"


def test_every_script_is_in_the_readme():
    scripts = [
        str(file.relative_to(ROOT))
        for room in ("calib", "train", "export")
        for file in sorted((ROOT / room).glob("*.py"))
        if "raise SystemExit(run_command(main))" in file.read_text()
    ]
    told = "\n".join(page.read_text() for page in PAGES)
    assert len(scripts) > 5
    assert [script for script in scripts if script not in told] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links {target}"
