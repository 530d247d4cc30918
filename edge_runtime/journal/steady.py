"""When the wall clock may say what is old: one rule for all that is removed by age."""

STEADY_S = 3600.0  # seconds that it must have gone on by itself, since the start or the last jump
JUMP_S = 2.0


class Steady:
    """Told of both clocks again and again; a clock that was set wrong is usually set right within the hour."""

    def __init__(self) -> None:
        self._since_s = 0.0  # monotonic seconds of the first look, or of the last jump
        self._offset_s: float | None = None

    def at(self, now_s: float, utc_s: float, clock: str) -> float | None:
        """Monotonic seconds, UTC seconds since 1970, what is wrong with it or "" -> UTC to judge by; None: not yet."""
        offset_s = utc_s - now_s
        if self._offset_s is None or abs(offset_s - self._offset_s) > JUMP_S or clock:
            self._since_s = now_s
        self._offset_s = offset_s
        return utc_s if now_s - self._since_s >= STEADY_S else None
