"""Reads the console of the emulated machine, passes it on, and judges its markers: `machine | python judge.py`."""

import sys
from collections.abc import Iterable

WANTED = [
    *("booted", "interrupted", "installed", "listening", "relay-energised", "unchanged", "alarm-raised", "relay-drops"),
    *(
        "alarm-returns",
        "recorded",
        "acknowledged",
        "relay-again",
        "confined",
        "relay-drops-when-hung",
        "watchdog",
        "relay-after-watchdog",
    ),
    *("page", "uninstalled", "relay-released", "purged", "end"),
]


def markers(console: Iterable[str]) -> dict[str, tuple[str, float]]:
    """Name -> (ok or FAILED, seconds since the machine was switched on)."""
    found = {}
    for line in console:
        print(line.rstrip(), flush=True)
        words = line.split()
        if len(words) == 4 and words[0] == "MARK":
            found[words[1]] = (words[2], float(words[3]))
    return found


def judge(found: dict[str, tuple[str, float]]) -> list[str]:
    """What went wrong, or was never seen."""
    failed = [name for name, (state, _) in found.items() if state != "ok"]
    return [*failed, *(f"{name} (never seen)" for name in WANTED if name not in found)]


def main() -> int:
    """0: everything was seen; 1: not."""
    found = markers(sys.stdin)
    wrong = judge(found)
    for name, (state, seconds) in found.items():
        print(f"{seconds:8.1f} s  {state:6s}  {name}")
    print("device-test: " + ("as it should be" if not wrong else f"wrong: {', '.join(wrong)}"))
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
