"""What every command of this project has in common.

Exit codes: 0 done, 1 a check failed, 2 the user's mistake (one line on stderr, no traceback), 130 interrupted,
141 nobody reads stdout any more, 143 terminated. However it ends, temporary files go with it (but for SIGKILL).
Results go to stdout, progress to stderr.
"""

import argparse
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_runtime.errors import AuscultError, ConfigError

# A place that the user named and that cannot be used; any other system error is a bug.
PLACES = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENOSPC}
Main = Callable[[Sequence[str] | None], int]


def run_command(main: Main, argv: Sequence[str] | None = None) -> int:
    """Run a command's `main(argv) -> exit code`; the user's mistakes become one line and exit code 2."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started this
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - as long as the process
    try:
        with _terminated():
            return main(argv)
    except AuscultError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # of `… | head`, or of a listener, which must not look well
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno not in PLACES:
            raise
        print(f"error: {error.filename or 'stdout'}: {error.strerror}; give a path that can be used", file=sys.stderr)
        if error.filename is None:  # or Python would try again at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except KeyboardInterrupt:
        return 130


@contextmanager
def _terminated() -> Iterator[None]:
    """SIGTERM ends a command in order, as SIGINT does; who listens has its own way (`stop_signals`)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def parser(docstring: str | None, prog: str | None = None) -> argparse.ArgumentParser:
    """An argument parser whose help is the module's docstring."""
    return argparse.ArgumentParser(
        prog=prog, description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )


def say(*words: object) -> None:
    """Progress, on stderr; where nobody reads that any more, nothing."""
    with suppress(OSError):
        print(*words, file=sys.stderr, flush=True)


def new_path(path: str | Path, option: str = "--out") -> Path:
    """A path that must not exist yet: nothing of the user's is ever overwritten."""
    path = Path(path)
    if path.exists():
        raise ConfigError(f"{option} {path}: already exists; give another path or remove it first")
    return path
