"""YAML as the tree that it is, and no key of it twice: PyYAML alone would drop the first without a word.

Nor a NUL, which no path and no word of a command can hold.
"""

from pathlib import Path
from typing import Any

import yaml

from edge_runtime.errors import ConfigError

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(path: str | Path, data: bytes) -> object:
    """Of that file; what is not YAML is a ConfigError."""
    loader = None
    try:
        loader = LOADER(data)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(path, node, set())
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError) as error:  # a date that there is not is a ValueError
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())}); mend it there") from None
    finally:
        if loader is not None:
            loader.dispose()


def _check(path: str | Path, node: yaml.Node, seen: set[int]) -> None:
    if isinstance(node, yaml.ScalarNode) and "\0" in node.value:
        raise ConfigError(f"{path}, line {node.start_mark.line + 1}: {node.value!r} holds a NUL; take it out")
    if id(node) in seen or not isinstance(node, yaml.CollectionNode):
        return
    seen.add(id(node))
    if not isinstance(node, yaml.MappingNode):
        for item in node.value:
            _check(path, item, seen)
        return
    keys: set[tuple[str, str]] = set()
    for key, value in node.value:
        name = (str(key.tag), str(key.value))
        if isinstance(key, yaml.ScalarNode) and name in keys:
            line = key.start_mark.line + 1
            raise ConfigError(f"{path}, line {line}: {key.value} is there twice; rename one")
        keys.add(name)
        _check(path, value, seen)
