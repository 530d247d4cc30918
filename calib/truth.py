"""Which test clips are anomalous, and of which domain: from the organisers' truth, or from the clips' own names.

A truth folder is one of
    ground_truth_data/ground_truth_<machine>_section_NN_test.csv    rows `clip,0|1`, 1 for an anomaly (2021 to 2026)
    ground_truth_domain/<the same name>                             rows `clip,0|1`, 1 for the target domain
    eval_data_list.csv                                              rows `clip,clip's labelled name` (2020; 2023 and on)
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from calib import official
from calib.official import DOMAINS, ClipName, parse_clip_name
from edge_runtime.errors import DataError

Key = tuple[str, str]  # machine type, section


@dataclass(frozen=True)
class Truth:
    """The test clips that have to be scored."""

    clips: dict[Key, dict[str, ClipName]] = field(default_factory=dict)  # by the name that rows are matched by
    aliases: dict[Key, dict[str, str]] = field(default_factory=dict)  # labelled name -> that name

    def add(self, key: Key, clip: ClipName, alias: str = "") -> None:
        """Note a clip, and the labelled name that it may be called by instead."""
        self.clips.setdefault(key, {})[clip.name] = clip
        if alias:
            self.aliases.setdefault(key, {})[alias] = clip.name


@dataclass(frozen=True, eq=False)
class Section:
    """The scores of one section's test clips beside their truth."""

    machine_type: str  # "fan"
    section: str  # "section_03"; 2020: "id_05"
    names: list[str]
    labels: np.ndarray  # [clips] int64, 0 normal, 1 anomaly
    domains: np.ndarray  # [clips] "source", "target", or "" where nothing says
    scores: np.ndarray  # [clips] float64, higher is worse
    decisions: np.ndarray | None  # [clips] int64, 1 for a clip held to be anomalous; None without a decision file

    def __str__(self) -> str:
        return f"{self.machine_type} {self.section}"


def read_truth(folder: Path) -> Truth:
    """Read a truth folder, or an `eval_data_list*.csv` itself."""
    if files := official.find_files(folder / "ground_truth_data", official.TRUTH):
        return _from_ground_truth(folder, files)
    lists = [folder] if folder.is_file() else sorted(folder.glob("eval_data_list*.csv"))
    if len(lists) == 1:
        return _from_list(lists[0])
    if lists:
        raise DataError(f"{folder}: holds {', '.join(path.name for path in lists)}; give the one that is meant")
    raise DataError(f"{folder}: no ground_truth_data/ground_truth_*.csv and no eval_data_list.csv; give a truth folder")


def load_sections(team: Path, truth: Truth | None = None) -> list[Section]:
    """Join a team's score files with the truth by clip name, sorted by machine type and section.

    Without a truth, labels and domains come from the clips' names, and the score files say which clips there are.
    A clip or a file that is missing, or one too many, is an error.
    """
    scores = _by_section(find_scores(team), binary=False)
    decisions = _by_section(official.find_files(team, official.DECISIONS), binary=True)
    for key in truth.clips if truth else ():
        if key not in scores:
            raise DataError(f"{team}: no {official.file_name(official.SCORES, *key)}, which the truth asks for")
    for key, rows in decisions.items():
        if key not in scores:
            raise DataError(f"{next(iter(rows.values()))[0]}: decisions without an {official.SCORES} file beside them")
    return [_join(key, scores[key], decisions.get(key), truth) for key in sorted(scores)]


def find_scores(team: Path) -> dict[Path, official.FileName]:
    """The score files of a team's folder; an error if it has none."""
    if not team.is_dir():
        raise DataError(f"{team}: no such folder; give the one that holds {official.SCORES}_*.csv")
    if files := official.find_files(team, official.SCORES):
        return files
    below = sorted({path.parent.name for path in team.glob(f"*/{official.SCORES}_*.csv")})
    hint = f"its folder {below[0]} has some: give that" if below else "give the folder that holds them"
    raise DataError(f"{team}: no {official.SCORES}_*.csv in it; {hint}")


Rows = dict[str, tuple[Path, str, float]]  # clip name -> the file it is in, that file's domain, the value


def _by_section(files: dict[Path, official.FileName], binary: bool) -> dict[Key, Rows]:
    """Read files; those of one section (2021: a file per domain) come together."""
    sections: dict[Key, Rows] = {}
    for path, file in files.items():
        rows = sections.setdefault((file.machine_type, file.section), {})
        for name, value in official.read_values(path, binary).items():
            if name in rows:
                raise DataError(f"{path}: {name} is also in {rows[name][0].name}; a clip has one row")
            rows[name] = (path, file.domain, value)
    return sections


def _join(key: Key, scores: Rows, decisions: Rows | None, truth: Truth | None) -> Section:
    machine_type, section = key
    if truth is None:
        clips = {name: _clip_in_file(name, section, path, domain) for name, (path, domain, _) in scores.items()}
        asked_by = "the score file"
    else:
        path = next(iter(scores.values()))[0]
        if key not in truth.clips:
            raise DataError(f"{path}: the truth has no {machine_type} {section}; remove the file or give its truth")
        clips, asked_by = truth.clips[key], "the truth"
        aliases = truth.aliases.get(key, {})
        scores = _renamed(scores, aliases)
        decisions = decisions and _renamed(decisions, aliases)
    names = sorted(clips)
    values = _values(scores, clips, asked_by)
    held = None if decisions is None else _values(decisions, clips, asked_by).astype(np.int64)
    labels = np.array([clips[name].label for name in names], np.int64)
    return Section(machine_type, section, names, labels, np.array([clips[name].domain for name in names]), values, held)


def _clip_in_file(name: str, section: str, path: Path, domain: str) -> ClipName:
    """Label and domain by a clip's own name."""
    clip = parse_clip_name(name)
    if clip.label is None:
        raise DataError(f"{path}: {name} does not say normal or anomaly; give the truth folder with --truth")
    if clip.section not in ("", section):
        raise DataError(f"{path}: {name} is of {clip.section}, the file of {section}; put the row into its own file")
    return clip._replace(domain=clip.domain or domain)


def _renamed(rows: Rows, aliases: dict[str, str]) -> Rows:
    """Rows under the names of the truth; a clip under both of its names is an error."""
    renamed: Rows = {}
    for name, row in rows.items():
        known = aliases.get(name, name)
        if known in renamed:
            raise DataError(f"{row[0]}: {name} and {known} are one clip; a clip has one row")
        renamed[known] = row
    return renamed


def _values(rows: Rows, clips: dict[str, ClipName], asked_by: str) -> np.ndarray:
    """The values in the order of the clips' sorted names; [clips] float64."""
    for name in rows:
        if name not in clips:
            raise DataError(f"{rows[name][0]}: {name} is not in {asked_by}; remove the row")
    if missing := sorted(clips.keys() - rows.keys()):
        files = {path: domain for path, domain, _ in rows.values()}
        wanted = [path for path, domain in files.items() if domain in ("", clips[missing[0]].domain)]
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        place = wanted[0] if wanted else next(iter(files)).parent
        raise DataError(f"{place}: no row for {missing[0]}{more}, which {asked_by} has")
    return np.array([rows[name][2] for name in sorted(clips)])


def _from_ground_truth(folder: Path, files: dict[Path, official.FileName]) -> Truth:
    truth = Truth()
    for path, file in files.items():
        key = (file.machine_type, file.section)
        domain_path = folder / "ground_truth_domain" / path.name
        domains = official.read_values(domain_path, binary=True) if domain_path.exists() else {}
        aliases = _aliases(folder / "ground_truth_attributes", path.name, key)
        for name, label in official.read_values(path, binary=True).items():
            if domains and name not in domains:
                raise DataError(f"{domain_path}: no row for {name}, which {path.name} has")
            said = DOMAINS[int(domains[name])] if domains else parse_clip_name(name).domain or file.domain
            truth.add(key, ClipName(name, file.section, said, int(label)), aliases.get(name, ""))
    return truth


def _aliases(folder: Path, name: str, key: Key) -> dict[str, str]:
    """Clip -> its labelled name, where the truth lists them: `clip,…,labelled name`, with or without `.wav`."""
    machine_type, section = key
    tables: Iterable[Path] = (folder / name, folder / machine_type / f"{section.replace('section', 'attributes')}.csv")
    rows = [row for path in tables if path.exists() for row in official.read_table(path)]
    pairs = [(parse_clip_name(row[0]), parse_clip_name(row[-1].removesuffix(".wav") + ".wav")) for row in rows]
    return {clip.name: labelled.name for clip, labelled in pairs if clip.section and labelled.label is not None}


def _from_list(path: Path) -> Truth:
    """Rows of one cell name a machine type; the rows below it are its clips."""
    truth, machine_type = Truth(), ""
    for number, row in enumerate(official.read_table(path), 1):
        if len(row) == 1:
            machine_type = row[0].strip()
            continue
        clip, labelled = parse_clip_name(row[0]), parse_clip_name(row[1])
        if not machine_type or labelled.label is None:
            raise DataError(f"{path}: row {number} is {','.join(row)[:80]!r}, not `clip.wav,its labelled name`")
        truth.add((machine_type, labelled.section), labelled._replace(name=clip.name), labelled.name)
    if not truth.clips:
        raise DataError(f"{path}: names no clips; rows are a machine type, then `clip.wav,its labelled name`")
    return truth
