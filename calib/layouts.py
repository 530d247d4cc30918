"""Which clips a folder holds: DCASE Task 2 of 2020 to 2026, or a plain folder. Names are read, no sound is opened.

    DCASE   [{dev_data,eval_data}/][raw/]<machine>/{train,test,source_test,target_test,supplemental,test_rename}/*.wav
    plain   [<type>/]<machine>/{normal,anomaly}/*.wav, or <machine>/train/normal, test/normal and test/anomaly

A plain folder without train and test: where there are anomalies, the last 20 % of the normal clips by name are test and
the rest train (one stretch at the end, as recordings are named in order of time); where there are none, all are train.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from calib.names import AUDIO, Key, Name, fill, parse, read_facts, stem
from edge_runtime.errors import DataError

KNOWN = (
    "no known layout; wanted DCASE Task 2 ([dev_data|eval_data]/[raw/]<machine>/{train,test} with names like "
    "section_00_source_train_normal_0000.wav or normal_id_01_00000000.wav) or a plain folder "
    "(<machine>/{normal,anomaly} or <machine>/{train,test}/{normal,anomaly}), .wav or .flac; see docs/data.md"
)
# test_rename, labelled copies of the test clips, replaces the other test folders; a clip in two of them counts once.
DCASE = {
    "train": ("train", None),
    "test_rename": ("test", None),
    "source_test": ("test", "source"),
    "target_test": ("test", "target"),
    "test": ("test", None),
    "supplemental": ("supplemental", None),
}
PLAIN = {
    "normal": ("", "normal"),
    "anomaly": ("test", "anomaly"),
    "abnormal": ("test", "anomaly"),
    "train/normal": ("train", "normal"),
    "train/anomaly": ("train", "anomaly"),  # a mistake that `calib.clips` names
    "test/normal": ("test", "normal"),
    "test/anomaly": ("test", "anomaly"),
    "test/abnormal": ("test", "anomaly"),
}
TEST_SHARE = 0.2  # of a plain folder's normal clips, by name from the end
_CONTAINER = re.compile(r"(dev|eval)(_.+)?|raw")  # what an archive of a DCASE data set unpacks into
_SECTION = re.compile(r"(id|section)_\d\d")


class Clip(msgspec.Struct, frozen=True):
    """One recording of a data set; None where the data set does not say."""

    path: Path
    machine_type: str  # "fan"
    section: str  # "section_00", "id_01"; "" for a plain folder
    split: str  # "train" | "test" | "supplemental"
    domain: str | None  # "source" | "target"
    label: str | None  # "normal" | "anomaly"
    attributes: str  # as in the name: "car_A2_spd_28V_mic_1"; "" where missing or hidden

    @property
    def machine(self) -> str:
        """The thing listened to: "fan_section_00", "ToyCar_id_01"; a plain folder: its name."""
        return f"{self.machine_type}_{self.section}" if self.section else self.machine_type

    @property
    def name(self) -> str:
        """The file name."""
        return self.path.name

    @property
    def trains(self) -> bool:
        """Whether it is a normal training clip: what networks, references and thresholds are made from."""
        return self.split == "train" and self.label in ("normal", None)


def scan(root: Path) -> tuple[list[Clip], list[Path]]:
    """Every clip under `root`, by machine, split and name, and the sound files whose names are of no known form."""
    if not root.is_dir():
        raise DataError(f"{root}: {'not a folder' if root.exists() else 'no such folder'}; give a data set's folder")
    clips: list[Clip] = []
    strangers: list[Path] = []
    for folder, kind in _machines(root, reachable=True, is_root=True):
        found, strange = _dcase_clips(folder) if kind == "dcase" else (_plain_clips(folder), [])
        clips += found
        strangers += strange
    if not clips:
        raise DataError(f"{root}: {KNOWN}")
    _refuse_doubles(clips)
    return sorted(clips, key=_by_machine), sorted(strangers)


def data_folder(clips: list[Clip]) -> Path:
    """The folder that holds all of these clips and has a layout of its own: a machine's folder or one above."""
    inner = {part for name in (*DCASE, *PLAIN) for part in name.split("/")}
    folder = Path(os.path.commonpath([clip.path.parent for clip in clips]))
    while folder.name in inner:
        folder = folder.parent
    return folder


def _machines(folder: Path, reachable: bool, is_root: bool = False) -> Iterator[tuple[Path, str]]:
    """Machine folders and their kind; `reachable`: nothing but containers stands between the root and this folder."""
    kind = _kind(folder)
    if kind and (reachable or kind == "plain"):
        yield folder, kind
    elif not kind and reachable:
        for child in _subfolders(folder):
            yield from _machines(child, is_root or bool(_CONTAINER.fullmatch(folder.name)))


def _kind(folder: Path) -> str:
    dcase = any(parse(path.name) for name in DCASE for path in _sounds(folder / name))
    plain = any(True for name in ("normal", "train/normal") for _ in _sounds(folder / name))
    if dcase and plain:
        raise DataError(f"{folder}: clips with DCASE names and a normal/ folder side by side; keep one of the two")
    return "dcase" if dcase else "plain" if plain else ""


def _dcase_clips(folder: Path) -> tuple[list[Clip], list[Path]]:
    machine_type = folder.resolve().name
    facts = _facts(folder, machine_type)
    sounds = {sub: found for sub in DCASE if (found := _sounds(folder / sub))}
    if "test_rename" in sounds:
        sounds = {sub: found for sub, found in sounds.items() if sub == "test_rename" or not sub.endswith("test")}
    clips: dict[tuple[str, str], Clip] = {}
    strangers = []
    for path in [path for found in sounds.values() for path in found]:
        split, domain = DCASE[path.parent.name]
        if name := parse(path.name):
            name = fill(name, facts.get(name.key))
            clips.setdefault((split, path.name), _dcase_clip(path, machine_type, name, split, domain))
        else:
            strangers.append(path)
    return list(clips.values()), strangers


def _dcase_clip(path: Path, machine_type: str, name: Name, split: str, domain: str | None) -> Clip:
    label = name.label or ("normal" if split == "train" else None)  # the challenge trains on normal clips alone
    return Clip(path, machine_type, name.section, split, name.domain or domain, label, name.attributes)


def _facts(folder: Path, machine_type: str) -> dict[Key, Name]:
    """What the attribute CSVs beside train/ and the evaluators' ground truth next to the data set say."""
    files = sorted(folder.glob("attributes_[0-9][0-9].csv"))
    place = folder.resolve().parent
    while True:
        files += sorted(place.glob(f"ground_truth_*/ground_truth_{machine_type}_section_*.csv"))
        files += sorted(place.glob(f"ground_truth_attributes/{machine_type}/attributes_[0-9][0-9].csv"))
        files += sorted(place.glob("eval_data_list*.csv"))
        if not _CONTAINER.fullmatch(place.name):
            break
        place = place.parent
    facts: dict[Key, Name] = {}
    for file in files:
        for key, said in read_facts(file, machine_type).items():
            facts[key] = fill(facts[key], said) if key in facts else said
    return facts


def _plain_clips(folder: Path) -> list[Clip]:
    place = folder.resolve()
    nested = _SECTION.fullmatch(place.name)  # <type>/id_00/normal: the folder above names the type
    machine_type, section = (place.parent.name, place.name) if nested else (place.name, "")
    sounds = {sub: found for sub in PLAIN if (found := _sounds(folder / sub))}
    if "normal" in sounds and any("/" in sub for sub in sounds):
        raise DataError(f"{folder}: normal/ beside train/ or test/; move its clips into train/normal or test/normal")
    tested = any(PLAIN[sub][1] == "anomaly" for sub in sounds)
    held_back = set(_held_back(sounds.get("normal", []))) if tested else set()
    clips = []
    for sub, found in sounds.items():
        split, label = PLAIN[sub]
        clips += [
            Clip(path, machine_type, section, split or ("test" if path in held_back else "train"), None, label, "")
            for path in found
        ]
    return clips


def _held_back(normal: list[Path]) -> list[Path]:
    """The clips at the end of the list that are for testing; one clip alone is for training."""
    count = max(1, round(TEST_SHARE * len(normal))) if len(normal) > 1 else 0
    return normal[len(normal) - count :]


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}; make the folder readable or give another") from None


def _sounds(folder: Path) -> list[Path]:
    """Sound files directly in `folder`, 2 before 10; none where there is no such folder."""
    if not folder.is_dir():
        return []
    try:
        names = [path for path in folder.iterdir() if path.suffix.lower() in AUDIO and not path.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}; make the folder readable or give another") from None
    return sorted(names, key=lambda path: _natural(path.name))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _by_machine(clip: Clip) -> tuple[object, ...]:
    return clip.machine, ("train", "test", "supplemental").index(clip.split), _natural(clip.name), clip.path


def _refuse_doubles(clips: list[Clip]) -> None:
    """Two data sets in one folder would pass for one machine."""
    seen: dict[tuple[str, str, str | None, str], Clip] = {}
    for clip in clips:
        other = seen.setdefault((clip.machine, clip.split, clip.label, stem(clip.name)), clip)
        if other is not clip:
            raise DataError(f"{other.path} and {clip.path}: one machine, one name; give the folder of one data set")
