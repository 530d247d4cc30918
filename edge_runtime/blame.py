"""What a decoder says of a tree of settings -> the place by its name, what is wrong, and what there is instead.

msgspec calls every key of a mapping `[...]`. The one that is meant is found by decoding one after another alone.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import inspect

from edge_runtime.errors import ConfigError

ABOUT = re.compile(r"(?P<what>.*?) - at (?P<key>`key` in )?`\$(?P<place>.*)`", re.DOTALL)
STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]|(\[\.\.\.\])")
Steps = list[str | int | None]  # field or key, place in a list, a key that is not known


def words(tree: object, kind: object, said: str, decode: Callable[[object], object]) -> str:
    """`said` of the tree by `decode`, as `machines.fan: unknown field chanel; there is bundle, …`."""
    match = ABOUT.fullmatch(said)
    what, place = (match["what"], match["place"]) if match else (said, "")
    steps = _found(tree, _steps(place), said, decode)
    nodes = list(_kinds(inspect.type_info(kind), tree, steps))
    if match and match["key"]:
        what += ' in a key (quote it: YAML reads 00 as the number 0 and on as true, "on" is text)'
    told = _instead(what, nodes)
    if steps and steps[-1] == "kind":
        told = told.replace("unknown ", "unknown kind ", 1)
    return _place(steps) + told


def whole(tree: Any, said: str, decode: Callable[[object], object]) -> str:
    """The same of an error that a struct raises itself, which names no place: the smallest mapping that raises it."""
    steps: Steps = []
    while True:
        node = _at(tree, steps)
        inner = [key for key in node if isinstance(node[key], dict)] if isinstance(node, dict) else []
        guilty = [key for key in inner if _says(decode, _only(tree, steps, key)) == said]
        if not guilty:
            return _place(steps) + said
        tree = _only(tree, steps, guilty[0])
        steps.append(guilty[0])


def _place(steps: Steps) -> str:
    """`machines.fan.alarm: `, or nothing for the whole."""
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step or '…'}" for step in steps).lstrip(".")
    return f"{name}: " if name else ""


def _steps(place: str) -> Steps:
    return [int(at) if at else None if any_key else name for name, at, any_key in STEP.findall(place)]


def _found(tree: object, steps: Steps, said: str, decode: Callable[[object], object]) -> Steps:
    """The keys that are not known, from the outside in."""
    found = list(steps)
    while None in found:
        at = found.index(None)
        node = _at(tree, found[:at])
        keys = list(node) if isinstance(node, dict) else []
        guilty = [key for key in keys if _says(decode, _only(tree, found[:at], key)) == said]
        if not guilty:
            return found
        found[at] = str(guilty[0])
        tree = _only(tree, found[:at], guilty[0])
    return found


def _says(decode: Callable[[object], object], tree: object) -> str:
    try:
        decode(tree)
    except (msgspec.ValidationError, ConfigError) as error:
        return str(error)
    return ""


def _at(tree: Any, steps: Steps) -> Any:
    for step in steps:
        tree = tree[step]
    return tree


def _only(tree: Any, steps: Steps, key: object) -> object:
    """The tree, where the mapping at that place has this key alone."""
    if not steps:
        return {key: tree[key]}
    changed: Any = dict(tree) if isinstance(tree, dict) else list(tree)
    changed[steps[0]] = _only(tree[steps[0]], steps[1:], key)
    return changed


def _kinds(kind: inspect.Type, node: object, steps: Steps) -> Iterator[list[inspect.Type]]:
    """What may stand at the root and behind each step."""
    kinds = _alternatives(kind, node)
    yield kinds
    for step in steps:
        node = node.get(step) if isinstance(node, dict) else None
        kinds = [each for one in kinds for inner in _inside(one, step) for each in _alternatives(inner, node)]
        yield kinds


def _inside(kind: inspect.Type, step: str | int | None) -> list[inspect.Type]:
    if isinstance(kind, inspect.StructType):
        tags = [inspect.LiteralType((kind.tag,))] if step == kind.tag_field else []
        return [*tags, *(field.type for field in kind.fields if field.encode_name == step)]
    if isinstance(kind, inspect.DictType):
        return [kind.value_type]
    if isinstance(kind, inspect.ListType | inspect.VarTupleType):
        return [kind.item_type]
    return []


def _alternatives(kind: inspect.Type, node: object) -> list[inspect.Type]:
    """A union as its types, or as the one that the tag says."""
    if isinstance(kind, inspect.Metadata):
        return _alternatives(kind.type, node)
    if not isinstance(kind, inspect.UnionType):
        return [kind]
    kinds = [each for one in kind.types for each in _alternatives(one, node)]
    tags = node if isinstance(node, dict) else {}
    meant = [one for one in kinds if isinstance(one, inspect.StructType) and one.tag in (tags.get(one.tag_field),)]
    return [one for one in meant if one.tag is not None] or kinds


def _instead(what: str, nodes: list[list[inspect.Type]]) -> str:
    """Field, kind or value that is unknown or missing, with those that there are."""
    kinds = nodes[-1]
    structs = [kind for kind in kinds if isinstance(kind, inspect.StructType)]
    if match := re.fullmatch(r"Object contains unknown field `(.*)`", what):
        tags = [str(kind.tag_field) for kind in structs[:1] if kind.tag_field]
        there = [*tags, *dict.fromkeys(field.encode_name for kind in structs for field in kind.fields)]
        return f"unknown field {match[1]}; there is {', '.join(there) or 'none'}"
    if match := re.fullmatch(r"Object missing required field `(.*)`", what):
        tags = [str(kind.tag) for kind in structs if kind.tag_field == match[1]]
        return f"missing field {match[1]}" + (f"; say which: {_or(tags)}" if tags else "; give it")
    if match := re.fullmatch(r"Invalid (?:enum )?value '?(.*?)'?", what):
        there = [str(value) for kind in kinds if isinstance(kind, inspect.LiteralType) for value in kind.values]
        return f"unknown {match[1]}" + (f"; there is {', '.join(there)}" if there else "")
    return re.sub(r"`(.*?)`", r"\1", what)


def _or(names: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
