"""Every check, in the order that it is told in."""

from collections.abc import Callable, Iterator

from edge_runtime.doctor import Finding, board, clock, hearing, network, outputs
from edge_runtime.doctor.patient import Patient
from edge_runtime.errors import AuscultError

CHECKS: dict[str, Callable[[Patient], Iterator[Finding]]] = {
    "bundle": network.bundles,
    "backend": network.backends,
    "sound": hearing.libraries,
    "microphone": hearing.microphones,
    "output": outputs.outputs,
    "disk": board.disk,
    "recorder": board.recorder,
    "memory": board.memory,
    "clock": clock.clock,
    "systemd": board.systemd,
}


def examine(patient: Patient) -> Iterator[Finding]:
    """What is the user's to mend is a finding; one check that cannot go on leaves the others."""
    for name, check in CHECKS.items():
        try:
            yield from check(patient)
        except AuscultError as error:  # its words hold the next step
            yield Finding(name, "fail", *_halves(str(error)))
        except OSError as error:
            yield Finding(name, "fail", str(error), "see that this user may read and write there")


def _halves(words: str) -> tuple[str, str]:
    """An error of ours: what is wrong; what to do."""
    seen, _, todo = " ".join(words.split()).rpartition("; ")
    return (seen, todo) if seen else (todo, "")
