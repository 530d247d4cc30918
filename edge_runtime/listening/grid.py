"""Which windows are due, sound or no sound: one every hop from an anchor on, so that none is ever unaccounted for."""


class Grid:
    """Windows start at anchor, anchor + hop, ...; each is given, or counted as lost because sound is missing in it."""

    def __init__(self, window: int, hop: int) -> None:
        """`window`, `hop`: samples."""
        self._window, self._hop = window, hop
        self._anchor = self._next = 0  # the next: start of the first window that is neither given nor lost
        self.lost = 0

    def anchor(self, at: int) -> None:
        """Another recording begins at that sample, without a gap: windows are counted from it."""
        self.passed(at)
        self._anchor = self._next = at

    def ahead(self, at: int) -> int:
        """Samples from there to the next place where a window may start: sound after a gap begins on the grid again."""
        return (self._anchor - at) % self._hop

    def given(self, start: int) -> None:
        """A window with sound starts at that sample; those before it that were not given are lost."""
        self.lost += (start - self._next) // self._hop
        self._next = start + self._hop

    def passed(self, at: int) -> int:
        """The stream has come to that sample without more windows: how many that were due by then are lost."""
        missing = max(0, (at - self._window - self._next) // self._hop + 1)
        self.lost += missing
        self._next += missing * self._hop
        return missing
