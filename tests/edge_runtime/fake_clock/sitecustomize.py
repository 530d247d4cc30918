"""A wall clock that a test sets: seconds in the file AUSCULT_FAKE_CLOCK are added to it, as setting it would.

Python imports this file by itself, where its folder is on the path. The monotonic clock stays what it is. (libfaketime
shifts that too where Python 3.11 sleeps until a moment of it, and its sleeps fail then.)
"""

import os
import time
from pathlib import Path

_file, _true = Path(os.environ["AUSCULT_FAKE_CLOCK"]), time.time


def _time() -> float:
    return _true() + float(_file.read_text() or 0)


time.time = _time
