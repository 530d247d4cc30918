"""wav2vec 2.0 of `transformers`, which is imported where one is asked for: where weights are, how a model is built.

Weights are a folder that `save_pretrained` wrote, or the name of one on the Hugging Face hub (owner/model). A name is
looked up among what was downloaded before; only a training that begins downloads, and not under HF_HUB_OFFLINE.
"""

import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Any

from torch.nn.utils import parametrize

from edge_runtime.bundle import sha256
from edge_runtime.errors import ConfigError, first_line

PACKAGE = "wav2vec 2.0 needs transformers: pip install 'auscult[wav2vec]'"
CONFIG, WEIGHTS = "config.json", ("model.safetensors", "pytorch_model.bin")
FORM: dict[str, Any] = {"mask_time_prob": 0.0, "attn_implementation": "eager"}  # nothing masked; as it is exported
# Settings of a Wav2Vec2Config that shape the network.
# fmt: off
SHAPE = frozenset({
    "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
    "layer_norm_eps", "conv_dim", "conv_stride", "conv_kernel", "conv_bias",
    "feat_extract_norm", "feat_extract_activation", "num_conv_pos_embeddings",
    "num_conv_pos_embedding_groups", "do_stable_layer_norm",
})
# fmt: on


def absent(weights: str) -> str:
    """Why a training cannot begin from these weights on this computer, without looking elsewhere; empty if it can."""
    try:
        folder(weights, download=False)
    except ConfigError as error:
        return str(error)
    return ""


def digest(weights: str) -> str:
    """SHA-256 of the weights' file where they are on this computer; empty where they are not."""
    try:
        place = folder(weights, download=False)
    except ConfigError:
        return ""
    return sha256(next(place / name for name in WEIGHTS if (place / name).is_file()))


def folder(weights: str, download: bool) -> Path:
    """The folder with a wav2vec 2.0, checked."""
    if importlib.util.find_spec("transformers") is None:
        raise ConfigError(PACKAGE)
    place = Path(weights).expanduser()
    if not place.exists():
        place = _of_hub(weights, download)
    if lack := _lacking(place):
        raise ConfigError(
            f"wav2vec.weights {weights}: {lack}; wanted {CONFIG} with model_type wav2vec2, and {' or '.join(WEIGHTS)}, "
            "as save_pretrained of transformers writes them"
        )
    return place


def architecture(place: Path) -> dict[str, Any]:
    """What shapes the network of a checked folder, with all that its file leaves to the defaults."""
    from transformers import Wav2Vec2Config

    whole = Wav2Vec2Config(**_shaping(json.loads((place / CONFIG).read_text()))).to_dict()
    return {name: whole[name] for name in sorted(SHAPE)}


def built(shape: dict[str, Any]) -> Any:
    """A Wav2Vec2Model with random weights; without a word about its shape it is wav2vec2-base."""
    if importlib.util.find_spec("transformers") is None:
        raise ConfigError(PACKAGE)
    import transformers

    settings: Any = transformers.Wav2Vec2Config
    try:
        return _plain(transformers.Wav2Vec2Model(settings(**shape, **FORM)))
    except Exception as error:
        raise ConfigError(f"wav2vec.architecture: {first_line(error)}; leave it out, the weights tell theirs") from None


def pretrained(weights: str) -> Any:
    """A Wav2Vec2Model with its weights; downloads them if need be."""
    place = folder(weights, download=True)
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    kind: Any = transformers.Wav2Vec2Model
    try:
        model, told = kind.from_pretrained(
            place, local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True, **FORM
        )
    except Exception as error:
        raise ConfigError(f"wav2vec.weights {weights}: cannot be read ({first_line(error)}); get it again") from None
    if lack := sorted(told["missing_keys"]) or sorted(name for name, *_ in told["mismatched_keys"]):
        raise ConfigError(f"wav2vec.weights {weights}: no weights of {lack[0]} as {CONFIG} tells; get it again")
    return _plain(model)


def _plain(model: Any) -> Any:
    """Without the weight norm of the convolution that gives positions: its weights become a constant of the graph."""
    parametrize.remove_parametrizations(model.encoder.pos_conv_embed.conv, "weight")
    return model


def _of_hub(name: str, download: bool) -> Path:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or name.startswith("."):
        raise ConfigError(f"wav2vec.weights {name}: no such folder, and no name of the hub, which is OWNER/MODEL")
    from huggingface_hub import snapshot_download

    files = [CONFIG, *WEIGHTS]
    try:
        place = Path(snapshot_download(name, allow_patterns=files, local_files_only=True))
        if not _lacking(place):
            return place
        why = "only a part of it is on this computer"
    except (FileNotFoundError, ValueError):  # it was never downloaded, or is no name
        why = "it is not on this computer"
    if download and os.environ.get("HF_HUB_OFFLINE", "") in ("", "0"):
        try:
            return Path(snapshot_download(name, allow_patterns=files))
        except Exception as error:  # whatever a network and a hub may answer
            why = f"the hub does not give it ({first_line(error)})"
    raise ConfigError(
        f"wav2vec.weights {name}: no such folder, and {why}; get it with `hf download {name}`, "
        "give a folder (wav2vec.weights=FOLDER), or train without (wav2vec=null)"
    )


def _lacking(place: Path) -> str:
    """What is wrong with a folder of weights, in words."""
    if not (place / CONFIG).is_file():
        return f"no {CONFIG} in it"
    try:
        told = json.loads((place / CONFIG).read_text())
        kind = told.get("model_type")
    except (ValueError, AttributeError):
        return f"{CONFIG} is no JSON object"
    if kind != "wav2vec2":
        return f"{CONFIG} is of model_type {kind}"
    return "" if any((place / name).is_file() for name in WEIGHTS) else f"no {' and no '.join(WEIGHTS)} in it"


def _shaping(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name in SHAPE}
