"""What exists, by name: models, hosts, releases and variants, the typed entries of `registry/`.

A file is read and checked at the first call, then kept. To add a model, edit a YAML file: its
fields are the classes of `spy_plugin.registry.schema`, and tests check it in the real hosts.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Hashable, Iterable, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from spy_plugin.errors import DataError, SpyBenchError
from spy_plugin.files.json import YAML, problem_in
from spy_plugin.registry.schema import Host, HostsFile, Model, Release, Variant

try:  # hosts wait for the registry when they start: the C parser takes an eighth of the time
    from yaml import CSafeLoader as _SafeLoader
except ImportError:
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

T = TypeVar("T")


@cache
def models() -> tuple[Model, ...]:
    """Return every model, the paper's first.

    Raises:
        DataError: an entry is wrong, or two models share a name.
    """
    found = _read("models.yaml", tuple[Model, ...]) + _read("models_today.yaml", tuple[Model, ...])
    index_names(found)
    return found


@cache
def _names() -> dict[str, Model]:
    return index_names(models())


@cache
def variants() -> tuple[Variant, ...]:
    """Return the data sets and tasks of both hosts; nothing else names them."""
    found = _read("variants.yaml", tuple[Variant, ...])
    _refuse_duplicates("variants.yaml", [v.vlmeval for v in found] + [v.lmms for v in found])
    return found


@cache
def hosts() -> dict[str, Host]:
    """Map names, such as ``vlmeval``, ``lmms-eval`` and ``vllm``, to hosts."""
    entries = _read("hosts.yaml", HostsFile).hosts
    _refuse_duplicates("hosts.yaml", [host.name for host in entries])
    return {host.name: host for host in entries}


@cache
def tested_versions() -> dict[str, tuple[str, ...]]:
    """Map distributions, hosts included, to the versions that the tests run with."""
    file = _read("hosts.yaml", HostsFile)
    return {host.distribution: host.tested for host in file.hosts} | file.packages


def version_of(name: str) -> str:
    """Return the installed version of a distribution; empty if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


@cache
def releases() -> tuple[Release, ...]:
    """Return the known revisions of the official data, the newest first."""
    found = _read("releases.yaml", tuple[Release, ...])
    _refuse_duplicates("releases.yaml", [release.name for release in found])
    return found


def resolve_model(name: str) -> Model | None:
    """Return the model of a name, alias, hub id or display name, ignoring case; None if unknown."""
    return _names().get(_fold(name.removeprefix("hf:")))


def find_model(name: str) -> Model:
    """Like `resolve_model`.

    Raises:
        SpyBenchError: the name is unknown; the message gives the closest names.
    """
    model = resolve_model(name)
    if model is None:
        close = difflib.get_close_matches(_fold(name), _names(), n=9, cutoff=0.5)
        # One model may be close by several of its names: say it once.
        near = list(dict.fromkeys(_names()[key].name for key in close))[:3]
        hint = f"Did you mean {', '.join(near)}?" if near else "See: spy-bench models."
        raise SpyBenchError(f"no model is called {name!r}. {hint}")
    return model


def canonical_name(name: str) -> str:
    """Return the registry's name of a model, whatever a host called it; an unknown name unchanged.

    Names, aliases and hub ids are known, also as ``org__model``, which is how lmms-eval names its
    folders, and local folders that are called like the repository.
    """
    text = name.strip()
    model = resolve_model(text) or resolve_model(text.replace("__", "/"))
    if model is None and text.count("/") != 1:  # one slash may be another owner's repository
        model = resolve_model(PurePosixPath(text).name)
    return model.name if model else name


def load_target(target: str) -> Any:
    """Import the object that a lazy ``module:object`` names."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def index_names(entries: Iterable[Model]) -> dict[str, Model]:
    """Map every folded name to its model.

    Raises:
        DataError: two models share a name.
    """
    index: dict[str, Model] = {}
    for model in entries:
        for name in model.known_as:
            other = index.setdefault(_fold(name), model)
            if other is not model:
                raise DataError(
                    f"{name!r} means both {other.name} and {model.name}",
                    "Give each model names of its own.",
                    path="registry/models*.yaml",
                )
    return index


def _fold(name: str) -> str:
    return "-".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _read(file: str, shape: type[T]) -> T:
    text = (_folder() / file).read_text(encoding="utf-8")
    return parse(text, shape, path=f"registry/{file}")


def _folder() -> Path:
    """Return the folder of the YAML files: inside the installed package, or beside it in a clone.

    Not looked up as a package: in a clone beside a plain install, `spy_plugin` is the clone's and
    `spy_plugin.registry_data` would be missing.
    """
    package = Path(__file__).parents[1]
    installed = package / "registry_data"
    return installed if installed.is_dir() else package.parent / "registry"


_REMEDY = "Compare with the other entries and with the classes of spy_plugin/registry/schema.py."


def parse(text: str, shape: type[T], *, path: str | Path, remedy: str = _REMEDY) -> T:
    """Read YAML text as a type.

    Raises:
        DataError: the text is not YAML, repeats a key, or does not fit; the message says where.
    """
    try:
        return TypeAdapter(shape).validate_python(yaml.load(text, Loader=StrictLoader))
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"is not YAML ({error})", remedy, path=path) from error
    except ValidationError as error:
        first = error.errors()[0]
        loc = first["loc"]
        where = ", ".join(filter(None, (line_of(text, loc), ".".join(str(part) for part in loc))))
        problem = problem_in({**first, "loc": ()}, YAML)
        raise DataError(problem, remedy, path=path, where=where) from error


def line_of(text: str, loc: Sequence[int | str]) -> str:
    """Return ``line N`` of a place in YAML text, or of the last part of it that exists.

    Args:
        loc: Keys and positions from the outside in; a value's line is that of its key.
    """
    node = yaml.compose(text, Loader=_SafeLoader)
    mark = None
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            found = [pair for pair in node.value if pair[0].value == str(part)]
            if not found:
                break
            mark, node = found[0][0].start_mark, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            mark = node.start_mark
        else:
            break
    return f"line {mark.line + 1}" if mark else ""


def _refuse_duplicates(file: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"duplicate name {name!r}", "Use each name once.", path=file)


class StrictLoader(_SafeLoader):
    """Refuse a mapping that repeats a key."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) != len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "duplicate key", node.start_mark)
        return mapping
