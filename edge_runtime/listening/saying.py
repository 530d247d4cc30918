"""What of the events a person should read in the log, in words; each thing once, and when it is over."""

from edge_runtime.alarm.words import ITSELF
from edge_runtime.listening import events
from edge_runtime.listening.log import Level, Log

LEVELS: dict[str, Level] = {"alarm": "error", "warning": "warning", "normal": "info"}


def say(log: Log, event: events.Event) -> None:
    """One line at most; windows and recordings are not told."""
    if isinstance(event, events.Start):
        above = event.threshold if event.alarm_above is None else event.alarm_above
        words = f"listens to {event.source} with {event.bundle}, alarm above {above:.4g} ({event.promise})"
        log.say(event.machine, words, "info")
    elif isinstance(event, events.Alarm):
        log.say(event.machine, _alarm(event), LEVELS[event.level] if event.who == ITSELF else "info")
    elif isinstance(event, events.Microphone):
        _microphone(log, event)
    elif isinstance(event, events.Lost):
        log.say(f"microphone {event.microphone}: sound", "some of it was lost on its way")
    elif isinstance(event, events.Backend):
        log.say("network", f"{event.name}: {event.reason}", "info" if event.name != "network" else "warning")
    elif isinstance(event, events.Notice):
        log.say(event.about, event.words)
    elif isinstance(event, events.End):
        _end(log, event)


def _alarm(event: events.Alarm) -> str:
    kind = event.kind.replace("_", " ")
    state = event.state.replace("_", " ")
    who = "" if event.who == ITSELF else f" by {event.who}"
    why = f": {event.why}" if event.why else ""
    return f"{kind}: {event.cause}{who}, now {state} ({event.level}){why}"


def _microphone(log: Log, event: events.Microphone) -> None:
    place = f"microphone {event.microphone}"
    if event.listening:
        log.over(place)
        log.say(f"{place} is heard", event.reason, "info")
    else:
        log.say(place, event.reason)


def _end(log: Log, event: events.End) -> None:
    all_of = event.windows + event.lost
    words = f"ends: {all_of} windows, of them {event.unfit} unfit and {event.lost} lost, {event.alarms} alarms"
    log.say(event.machine, words if event.error is None else f"{words}; {event.error}", "info")
