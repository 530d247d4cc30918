"""From an event to a better model: an alarm, labelled on the page, exported, trained on, listening."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = [pytest.mark.verify, pytest.mark.timeout(1800)]
QUICK = ["--epochs", "6", "--set", "training.batch=16", "--set", "training.workers=0"]
SITE = """
state: state
recorder: {{longest_s: 120}}
microphones: {{left: {{device: default}}}}
machines:
  pump: {{bundle: {bundle}, microphone: left, alarm: {{alarm: {{k: 3, of: 5, on_delay_s: 10.0, off_delay_s: 10.0}}}}}}
"""


def python(*words, **more):
    """A command of the project, to its end -> what it printed."""
    command = [sys.executable, *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "AUSCULT_CACHE": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, f"{' '.join(command[1:])}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A simulated pump: recordings of its usual load, a stream of another load, and one with a fault."""
    folder = tmp_path_factory.mktemp("plant")
    data = folder / "data"
    python("train/simulate.py", data, "--machines", "pump", "--source", 110, "--target", 1, "--test", 12, "--seed", 5)
    for file in (data / "dev_data/pump/train").glob("*target*"):
        file.unlink()
    like = ["--like", data / "dev_data/pump", "--seconds", 200]
    python("train/simulate.py", "--stream", folder / "load.wav", *like, "--domain", "target", "--seed", 9)
    fault = ["--fault-at", 100, "--severity", 6, "--seed", 11]
    python("train/simulate.py", "--stream", folder / "fault.wav", *like, *fault)
    return folder


@pytest.fixture
def plant(simulated, tmp_path):
    """The same, to add to."""
    return Path(shutil.copytree(simulated, tmp_path / "plant"))


def detector(plant, name):
    """Without a network."""
    python("calib/fit.py", "--no-network", "--data", plant / "data", "--out", plant / name)


def network(plant, name):
    """Trained, exported, quantized, fitted and packed."""
    run, model, data = plant / f"{name}.run", plant / f"{name}.model", ["--data", plant / "data"]
    python("train/run.py", "train/configs/featex.yaml", *data, "--out", run, *QUICK)
    python("export/to_onnx.py", run, *data, "--out", model)
    python("export/quantize.py", model, *data)
    python("calib/fit.py", model, *data)
    python("export/pack.py", model, *data, "--out", plant / name)


def listen(plant, bundle, sound):
    """-> events as they were told, of a site that records."""
    site = plant / "site.yaml"
    site.write_text(SITE.format(bundle=bundle))
    told = plant / "told.jsonl"
    told.unlink(missing_ok=True)
    python("-m", "edge_runtime", "run", site, "--file", plant / sound, "--events", told)
    return [json.loads(line) for line in told.read_text().splitlines()]


def raised(told):
    return [event["at_s"] for event in told if event["event"] == "alarm" and event["cause"] == "raise"]


def label(plant, event, what):
    """What a person says of it on the page."""
    command = [sys.executable, "-m", "edge_runtime", "serve", plant / "site.yaml", "--port", "0"]
    page = subprocess.Popen(list(map(str, command)), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        address = next(word for line in page.stderr for word in line.split() if word.startswith("http://")).rstrip(",/")
        token = (plant / "state/page.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        body = json.dumps({"what": what, "who": "Ada", "why": "heard it"}).encode()
        request = urllib.request.Request(f"{address}/api/events/{event}/label", body, headers)
        assert urllib.request.urlopen(request, timeout=10).status == 200
    finally:
        page.terminate()
        page.communicate(timeout=10)


@pytest.mark.parametrize("train", [detector, network])
def test_a_load_that_was_labelled_as_normal_is_no_alarm_to_the_model_that_was_trained_on_it(plant, train):
    """A load that was never recorded is a false alarm of the first bundle, which has no network."""
    began = time.monotonic()
    detector(plant, "first.bundle")
    false, true = listen(plant, "first.bundle", "load.wav"), listen(plant, "first.bundle", "fault.wav")
    assert raised(false) and raised(true)
    listed = json.loads(python("-m", "edge_runtime", "events", "list", plant / "site.yaml", "--json"))
    ids = [one["event"]["id"] for one in listed]
    assert len(ids) >= 2
    label(plant, ids[0], "normal")
    label(plant, ids[-1], "fault")
    exported = plant / "data/dev_data"
    before = len(list(exported.rglob("*.wav")))
    to = ["--out", exported, "--append", "--rename", "pump=pump"]
    python("-m", "edge_runtime", "events", "export", plant / "site.yaml", *to)
    assert len(list(exported.rglob("*.wav"))) > before
    train(plant, "second.bundle")
    again, still = listen(plant, "second.bundle", "load.wav"), listen(plant, "second.bundle", "fault.wav")
    before, after = (sum(bool(event.get("decision")) for event in told) for told in (false, again))
    fault = "is an alarm" if raised(still) else "is none"
    print(f"{train.__name__}: {before} windows above the threshold before, {after} after, the fault {fault}")
    print(f"{time.monotonic() - began:.0f} s")
    assert raised(again) == [] and after < before / 10
    assert raised(still)
