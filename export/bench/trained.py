"""One job in a process of its own: train, hear, score, quantize. Nothing here looks at a label."""

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from calib import detectors, scorings
from calib.clips import Clip
from calib.collect import collect
from calib.fit import training_clips
from edge_runtime import bundle, config
from edge_runtime.backends import Backend, Several, open_backend
from edge_runtime.bundle import Model
from edge_runtime.cli import say
from edge_runtime.errors import AuscultError, ConfigError, DataError
from edge_runtime.features import LogMel, samples_of
from export.bench import maps, scores
from export.bench.ablations import file_name
from export.bench.plan import UNTOLD, Job, Part
from export.bench.scores import Scored
from export.bench.trial import Trial, digest
from train.models.base import Config

if TYPE_CHECKING:
    from train.run_folder import Run  # whose libraries take seconds


class UnsuitableError(Exception):
    """The clips or the settings do not allow the training; the reason in one line."""


def system(job: Job, trial: Trial) -> Scored:
    """Train what is not trained yet, and score the test clips with it."""
    found = Scored()
    found.told.training_s = 0.0
    for part in job.parts:
        train(job, part)
        _add(found, _part(job, part, trial))
    if job.map:
        found.map = maps.tsne(found.embeddings, trial.test)
    return found


def without_network(names: list[str], frames: int, trial: Trial) -> dict[str, Scored | AuscultError]:
    """Score with detectors; all hear the clips once."""
    models = {name: detectors.model(name, samples_of(frames, LogMel())) for name in names}
    together = detectors.hearing(models[names[0]], names)
    backend = Several({name: open_backend(None, model) for name, model in models.items()})
    heard = collect([*trial.train, *trial.test], together, backend)
    found: dict[str, Scored | AuscultError] = {}
    for name, model in models.items():
        try:
            one = scores.score(heard.part(name), model)
            one.map = maps.tsne(one.embeddings, trial.test)
            found[name] = one
        except AuscultError as error:
            found[name] = error
    return found


def train(job: Job, part: Part) -> None:
    """Train a network into its run folder: from the start, or on from where it stopped; not at all if it is done."""
    from train import run, run_folder, settings  # late: Lightning takes seconds, and detectors need none of it

    assert job.config is not None
    wanted = job.config if part.machine_type is None else job.config.for_type(part.machine_type)
    if run_folder.finished(part.folder):
        _check_settings(part.folder / run_folder.CONFIG, wanted)
        return
    begun = run_folder.begun(part.folder)
    words = ["--data", str(job.train_data), "--out", str(part.folder)]
    words += ["--machine-type", part.machine_type] if part.machine_type else []
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / f"{file_name(job.name)}.yaml"
        settings.save(file, job.config)
        if begun:
            file = part.folder / run_folder.CONFIG
            words.append("--resume")
        else:
            shutil.rmtree(part.folder, ignore_errors=True)
        try:
            run.main([str(file), *words])
        except (ConfigError, DataError) as error:
            raise UnsuitableError(str(error)) from None


def _check_settings(file: Path, wanted: Config) -> None:
    """A folder's name says which settings differ from the defaults: those may have been others when it was trained."""
    from train import checks, settings

    found = [
        f"{name} {a}, now {b}"
        for name, a, b in checks.differing(settings.load(file), wanted)
        if name.partition(".")[0] not in UNTOLD and not name.startswith("wav2vec.architecture")
    ]
    if found:
        raise ConfigError(f"{file}: trained with {'; '.join(found)}; move its folder away, or give other --runs")


def _part(job: Job, part: Part, trial: Trial) -> Scored:
    """One network of a system on the machines that it may judge."""
    from train import run_folder
    from train.backend import open_torch

    assert job.config is not None
    trained = run_folder.load_run(part.folder)
    model = _scored_as(trained.model, job.config)
    clips = [c for c in [*trial.train, *trial.test] if part.machine_type in (None, c.machine_type)]
    found = _hear(clips, model, open_torch(trained.network, model))
    found.told.parameters, found.told.macs = model.parameters, model.macs
    origin = config.load_json(part.folder / run_folder.ORIGIN, run_folder.Origin)
    found.told.training_s, found.told.commit = origin.seconds, origin.commit
    if job.int8:
        try:
            folder = _quantized(job, part, trained, model)
            found.int8 = _hear(clips, model, open_backend(folder / bundle.CPU, model)).scores
        except (AuscultError, RuntimeError) as error:
            found.told.int8_note = str(error).splitlines()[0]
    return found


def _scored_as(model: Model, chosen: Config) -> Model:
    """A run's model, with the scoring of these settings: no training depends on it."""
    changed = scorings.with_scoring(model, chosen.scoring, chosen.poolings)
    return msgspec.structs.replace(changed, hop=chosen.hop)


def _hear(clips: list[Clip], model: Model, backend: Backend) -> Scored:
    return scores.score(collect(clips, model, backend), model)


def _quantized(job: Job, part: Part, trained: "Run", model: Model) -> Path:
    """The network's INT8 form beside its run, calibrated on the clips that it was trained on."""
    from export import quantize, to_onnx

    told = digest(model.scoring, model.poolings, model.hop)
    folder = part.folder.with_name(f"{part.folder.name}-int8-{told}")
    if (folder / bundle.CPU).exists():
        return folder
    clips = [c for c in training_clips(job.train_data) if part.machine_type in (None, c.machine_type)]
    if not folder.exists():
        say("export")
        equality = to_onnx.export(trained.network, model, clips, folder)
        if not equality.equal:
            raise RuntimeError(f"the exported network is another one: {equality}")
    say("quantize")
    if failures := quantize.quantize(folder, clips).failures:
        raise RuntimeError(f"no INT8 form: {failures[0]}")
    return folder


def _add(whole: Scored, part: Scored) -> None:
    """Networks of several machine types as one system."""
    for name in scores.ARRAYS:
        getattr(whole, name).update(getattr(part, name))
    whole.told.thresholds |= part.told.thresholds
    whole.told.parameters, whole.told.macs = part.told.parameters, part.told.macs
    whole.told.training_s = (whole.told.training_s or 0.0) + (part.told.training_s or 0.0)
    whole.told.commit = part.told.commit
    whole.told.int8_note = whole.told.int8_note or part.told.int8_note
