"""The outputs: whether each can do what it is for; with --fire it does."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from edge_runtime import utc
from edge_runtime.alarm import Change, Status
from edge_runtime.doctor import Finding
from edge_runtime.doctor.patient import Patient
from edge_runtime.doctor.webhook import webhook
from edge_runtime.errors import ConfigError
from edge_runtime.outputs import Output, Told
from edge_runtime.outputs.open import check_output, open_output
from edge_runtime.outputs.settings import CommandSettings, RelaySettings, Settings, WebhookSettings

FIRE_S = 2.0  # seconds that a horn sounds or a relay holds
LONGEST_S = 15.0  # seconds for a command or for a slow start
MACHINE = "doctor"


def outputs(patient: Patient) -> Iterator[Finding]:
    """Each of them."""
    if not patient.outputs:
        words, todo = "none: an alarm is only printed", "name some in the site file, or give run --command"
        yield Finding("output", "warn", words, todo) if patient.site is not None else Finding("output", "ok", words)
    for name, settings in patient.outputs.items():
        try:
            check_output(name, settings)
        except ConfigError as error:
            seen, _, todo = str(error).rpartition("; ")
            yield Finding("output", "fail", seen or todo, todo if seen else "")
            continue
        if isinstance(settings, RelaySettings) and (trouble := _chip(Path(settings.chip))) is not None:
            yield Finding("output", "fail", f"{name}: {trouble[0]}", trouble[1])
            continue
        if isinstance(settings, WebhookSettings) and patient.site is not None:
            yield from webhook(name, settings, patient.site.state)
        if patient.fire:
            yield _fire(name, settings, patient.site.name if patient.site is not None else "")
        elif not isinstance(settings, WebhookSettings):
            yield Finding("output", "ok", f"{name}: {_words(settings)}; not fired (--fire does)")


def _chip(chip: Path) -> tuple[str, str] | None:
    """What is wrong with a GPIO chip, and what to do."""
    if not chip.exists():
        there = ", ".join(sorted(str(path) for path in Path("/dev").glob("gpiochip*"))) or "none"
        return f"no {chip}; there is {there}", "give the right chip (gpiodetect), or plug it in"
    if not chip.is_char_device():
        return f"{chip} is no GPIO chip", "give the right chip (gpiodetect)"
    if not os.access(chip, os.R_OK | os.W_OK):
        return f"{chip} may not be used by this user", "add the user to the chip's group: ls -l /dev/gpiochip*"
    return None


def _words(settings: Settings) -> str:
    if isinstance(settings, RelaySettings):
        return f"relay on {settings.chip}, line {settings.line}: the chip is there"
    if isinstance(settings, CommandSettings):
        return f"command {settings.command}: the program is there"
    if isinstance(settings, WebhookSettings):
        return f"webhook {settings.place}: it takes messages"
    return f"sound {settings.file}: the file is there"


def _fire(name: str, settings: Settings, site: str) -> Finding:
    """A relay is energised and falls, a horn sounds, who is told of changes hears of an alarm of machine "doctor"."""
    output = open_output(name, settings, site=site)
    try:
        _act(output, "normal")
        _act(output, "unacknowledged")
        if isinstance(settings, WebhookSettings):
            _act(output, "normal", "return")  # or the receiver would show it for ever
        if isinstance(settings, CommandSettings | WebhookSettings):
            output.close(min(settings.timeout_s, LONGEST_S))
    finally:
        output.close(1.0)
    failures = [line for line in output.failures() if not line.endswith("works again")]
    if failures:
        return Finding("output", "fail", f"{name}: {'; '.join(failures)}", "mend it, and try again with --fire")
    return Finding("output", "ok", f"{name}: {_words(settings)}; it was fired")


def _act(output: Output, state: str, cause: str = "raise") -> None:
    """An alarm, or none, for some seconds."""
    raised = state != "normal"
    kinds = ("anomaly", "not_listening")
    level = "alarm" if raised else "normal"
    now = [Status(MACHINE, kind, state, level, False) for kind in kinds]  # type: ignore[arg-type]
    why = "python -m edge_runtime doctor --fire"
    told = [
        Told(Change(MACHINE, kind, "normal", state, level, cause, MACHINE, why), 0.0, utc.now("seconds"), None, why)  # type: ignore[arg-type]
        for kind in kinds
    ]
    output.update(told[:1] if raised or cause == "return" else [], now)
    deadline = time.monotonic() + FIRE_S
    while time.monotonic() < deadline:
        output.feed(True)
        time.sleep(0.1)
