"""Jobs in processes of their own: one that fails, or is killed, takes no other with it."""

import multiprocessing
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from calib.progress import bar
from edge_runtime.errors import AuscultError
from export.bench import scores
from export.bench.ablations import file_name
from export.bench.plan import Job, Plan
from export.bench.scores import Scored
from export.bench.trial import Trial

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
SCORED, LOGS = "scored", "logs"  # folders of OUT


class Reason(msgspec.Struct, frozen=True):
    """Why there are no scores."""

    words: str
    failed: bool = True  # False: the clips lack something that the system needs


@dataclass
class Done:
    """What came of all jobs."""

    scored: dict[str, dict[int, Scored]] = field(default_factory=dict)  # name -> seed -> scores
    reasons: dict[str, dict[int, Reason]] = field(default_factory=dict)


def run(plan: Plan) -> Done:
    """Do every job that is not done, some at a time."""
    out = plan.request.out
    waiting = [job for job in plan.jobs if any(scores.load(_file(out, n, job), k) is None for n, k in job.keys.items())]
    reasons: dict[tuple[str, int], Reason] = {}
    with _one_thread(), bar(None, "jobs", len(waiting)) as shown:
        for job, found in _results(waiting, plan):
            reasons |= {(name, job.seed): reason for name, reason in found.items()}
            shown.update()
            shown.write(_line(job, found), file=sys.stderr)
    done = Done()
    for job in plan.jobs:
        for name, key in job.keys.items():
            if (one := scores.load(_file(out, name, job), key)) is not None:
                done.scored.setdefault(name, {})[job.seed] = one
            else:
                reason = reasons.get((name, job.seed), Reason("no scores were written"))
                done.reasons.setdefault(name, {})[job.seed] = reason
    return done


def _results(waiting: list[Job], plan: Plan) -> Iterator[tuple[Job, dict[str, Reason]]]:
    """Each job with what went wrong in it, as they end. A process has a pool to itself: killed, it breaks no other."""
    left, running = list(waiting), dict[Future[dict[str, Reason]], tuple[Job, ProcessPoolExecutor]]()
    context = multiprocessing.get_context("spawn")
    idle = [ProcessPoolExecutor(1, mp_context=context) for _ in range(min(plan.request.jobs, len(left)))]
    try:
        while left or running:
            while idle and (job := _free(left, [busy for busy, _ in running.values()])):
                left.remove(job)
                pool = idle.pop()
                running[pool.submit(work, job, plan.trial, plan.request.out)] = (job, pool)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job, pool = running.pop(future)
                try:
                    yield job, future.result()
                    idle.append(pool)
                except BrokenProcessPool:
                    yield job, dict.fromkeys(job.keys, Reason("the process was killed: is there memory enough?"))
                    idle.append(ProcessPoolExecutor(1, mp_context=context))
    finally:
        for pool in [*idle, *(pool for _, pool in running.values())]:
            pool.shutdown(cancel_futures=True)


def _free(left: list[Job], running: list[Job]) -> Job | None:
    """The next job whose networks no other trains at the moment: systems that differ in scoring alone share them."""
    busy = {part.folder for job in running for part in job.parts}
    return next((job for job in left if busy.isdisjoint(part.folder for part in job.parts)), None)


def work(job: Job, trial: Trial, out: Path) -> dict[str, Reason]:
    """Do one job, in its own process; what it says goes into a file. -> what failed."""
    log = out / LOGS / f"{file_name(job.name)}_seed_{job.seed}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with log.open("w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        try:
            return _work(job, trial, out)
        except Exception as error:
            traceback.print_exc()
            return dict.fromkeys(job.keys, Reason(f"{_words(error)} ({log})"))


def _end_with_parent() -> None:
    """A process whose parent is killed would train on, beside the one that is started next."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _work(job: Job, trial: Trial, out: Path) -> dict[str, Reason]:
    from export.bench import trained

    if job.config is None:
        found = trained.without_network(list(job.keys), job.frames, trial)
    else:
        try:
            found = {job.name: trained.system(job, trial)}
        except trained.UnsuitableError as error:
            return {job.name: Reason(str(error), failed=False)}
        except AuscultError as error:
            found = {job.name: error}
    for name, one in found.items():
        if isinstance(one, Scored):
            scores.save(_file(out, name, job), job.keys[name], one)
    return {name: Reason(str(one)) for name, one in found.items() if isinstance(one, AuscultError)}


def _file(out: Path, name: str, job: Job) -> Path:
    return out / SCORED / file_name(name) / f"seed_{job.seed}.npz"


def _words(error: Exception) -> str:
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0] if said else 'no words'}"


def _line(job: Job, found: dict[str, Reason]) -> str:
    who = job.name if job.config is None else f"{job.name}, seed {job.seed}"
    return f"{who}: " + ("; ".join(reason.words for reason in found.values()) if found else "done")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Processes that are started now compute with one thread each, and wait without spinning."""
    before = {name: os.environ.get(name) for name in (*THREADS, "OMP_WAIT_POLICY")}
    os.environ |= {**dict.fromkeys(THREADS, "1"), "OMP_WAIT_POLICY": "PASSIVE"}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
