"""What an older program wrote -> today's fields, one step a format.

1   a machine had one back end, told by metric, whiten, centroids and neighbours; a model without a network was its
    only input's mean over time
2   scoring is a back end or a fusion of several; poolings are named
3   a machine knows several spectra of normal sound, not their mean alone
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import BundleError

FORMAT = 3

Told = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


def checked_format(told: Told, where: str) -> int:
    """The format number of a manifest; one that nothing here can read is an error."""
    found = told.get("format")
    if not isinstance(found, int):
        raise BundleError(f"{where}: no format number; copy the bundle again")
    if found > FORMAT:
        raise BundleError(
            f"{where}: format {found} is newer than this program's {FORMAT}; update auscult on this device"
        )
    if found < 1:
        raise BundleError(f"{where}: format {found} is older than any that can be read; pack the model again")
    return found


def manifest(told: Told) -> Told:
    """A manifest of any readable format -> today's."""
    return {**told, "model": model(told["model"])}


def model(told: Told) -> Told:
    """A model of any readable format -> today's; the system says whether there is a network."""
    scoring = told.get("scoring") or {}
    if "kind" in scoring:
        return told
    told = {**told, "scoring": _scoring(scoring)}
    if told.get("system") == "mel_mean":
        (name,) = told["inputs"]
        told |= {"inputs": {}, "outputs": {}, "beside": told["inputs"]}
        told["poolings"] = {"embedding": {"kind": "mean", "input": name}}
    return told


def machine(settings: Told, arrays: Arrays) -> tuple[Told, Arrays]:
    """Settings and arrays of a machine of any readable format -> today's."""
    settings, arrays = dict(settings), dict(arrays)
    written = settings.pop("format", 1)
    if written < 2:
        settings, arrays = _machine_of_1(settings, arrays)
    if written < 3:
        arrays |= {"normal_spectra": arrays["normal_level"][np.newaxis], "normal_rest": arrays["normal_spread"]}
    return settings, arrays


def _machine_of_1(settings: Told, arrays: Arrays) -> tuple[Told, Arrays]:
    """-> of format 2."""
    settings["scoring"] = _scoring(settings["scoring"])
    names = {"points": "references", "radii": "radii", "mean": "mean", "whitening": "whitening"}
    fitted = {f"part0.{new}": arrays.pop(old) for new, old in names.items()}
    if settings["scoring"]["kind"] == "network":
        fitted = {}
    return settings, {**arrays, **fitted, "location": np.zeros(1), "scale": np.ones(1)}


def _scoring(told: Told) -> Told:
    """Of format 1."""
    if told.get("metric") == "network":
        return {"kind": "network"}
    centroids = told.get("centroids", 16)
    return {
        "kind": "nearest",
        "metric": told.get("metric", "cosine"),
        "whiten": told.get("whiten", False),
        "references": "clusters" if centroids else "windows",
        "centroids": centroids or 16,
        "density": told.get("neighbours", 0),
        "density_half": 0,
    }
