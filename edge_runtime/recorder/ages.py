"""How old is what a clock recorded that was not set: it ages from the first look by a clock that is right.

STATE/ages.json    name -> UTC seconds of that look; of events, and of normal sounds with what they say of their time
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from edge_runtime import safe_file

FILE = "ages.json"


class Ages:
    """For the thread that writes."""

    def __init__(self, state: Path) -> None:
        self._state, self._kept = state, known(state)
        self._looked = dict(self._kept)

    def look(self, found: Mapping[str, float | None], now_s: float) -> dict[str, float]:
        """All that there is, with its own UTC seconds where it has them -> since when it counts as recorded.

        `now_s`: UTC, of a clock that is right; a time after it is none.
        """
        own = {name: utc_s for name, utc_s in found.items() if utc_s is not None and utc_s <= now_s}
        self._looked = {name: min(self._looked.get(name, now_s), now_s) for name in found if name not in own}
        if self._looked != self._kept:
            with contextlib.suppress(OSError):  # of a full disk others tell; it is tried again with the next look
                safe_file.write(self._state / FILE, msgspec.json.encode(self._looked))
                self._kept = dict(self._looked)
        return own | self._looked


def known(state: Path) -> dict[str, float]:
    """What was looked at so far; nothing where that cannot be read."""
    try:
        return msgspec.json.decode((state / FILE).read_bytes(), type=dict[str, float])
    except (OSError, msgspec.MsgspecError):
        return {}
