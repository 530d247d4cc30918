"""Clips that the simulator makes per second and core, writing included.

    OMP_NUM_THREADS=1 python benchmarks/simulate.py [--clips 48] [--seconds 10]

One process. Every kind of machine in turn, one clip in four with a fault. `per core` counts processor time and
`per second` the clock on the wall, which a busy machine stretches.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path[0] = str(Path(__file__).resolve().parents[1])

from edge_runtime.cli import parser
from train.simulator.clip import Job, Simulated, folder_of, make_clip
from train.simulator.kinds import KINDS


def jobs(kind: str, clips: int, seconds: float) -> list[Job]:
    """Clips of one machine, a quarter of them anomalous."""
    machine, faults = Simulated(kind, "00", 0), KINDS[kind].faults
    return [
        Job(machine, "test", "source", "normal", i, seconds, 0)
        if i % 4
        else Job(machine, "test", "source", "anomaly", i, seconds, 0, faults[i // 4 % len(faults)], 0.0)
        for i in range(clips)
    ]


def main() -> None:
    """Print one line per kind and one for all."""
    options = parser(__doc__)
    options.add_argument("--clips", type=int, default=48, help="of each kind")
    options.add_argument("--seconds", type=float, default=10.0, help="of each clip")
    given = options.parse_args()
    core_s = wall_s = 0.0
    print(f"{'kind':12}{'per second':>12}{'per core':>12}   clips of {given.seconds:g} s")
    for kind in KINDS:
        todo = jobs(kind, given.clips, given.seconds)
        with TemporaryDirectory() as folder:
            folder_of(Path(folder), todo[0]).mkdir(parents=True)
            make_clip(todo[0], Path(folder))  # drawing the machine is not counted: it is done once
            cpu, wall = time.process_time(), time.perf_counter()
            for job in todo:
                make_clip(job, Path(folder))
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        core_s, wall_s = core_s + cpu, wall_s + wall
        print(f"{kind:12}{given.clips / wall:12.1f}{given.clips / cpu:12.1f}")
    total = given.clips * len(KINDS)
    print(f"{'all':12}{total / wall_s:12.1f}{total / core_s:12.1f}")


if __name__ == "__main__":
    main()
