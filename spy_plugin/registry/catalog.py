"""What exists, by name: models, hosts, releases and variants; typed entries of `registry/*.yaml`.

Files are read and checked at the first call, then kept. To add a model, edit a YAML file; its
shape is the classes of `registry_schema`, and the tests resolve each entry against the real hosts.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Hashable, Iterable
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from spy_plugin.errors import DataError, SpyBenchError
from spy_plugin.registry.schema import Host, HostsFile, Model, Release, Variant

try:  # hosts wait for the registry when they start: the C parser takes an eighth of the time
    from yaml import CSafeLoader as _SafeLoader
except ImportError:
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

T = TypeVar("T")


@cache
def models() -> tuple[Model, ...]:
    """Every model, the paper's first.

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
    """The data sets and tasks of both hosts; the one place that names them."""
    found = _read("variants.yaml", tuple[Variant, ...])
    _refuse_twice("variants.yaml", [v.vlmeval for v in found] + [v.lmms for v in found])
    return found


@cache
def hosts() -> dict[str, Host]:
    """Hosts by name: ``vlmeval``, ``lmms-eval``, ``vllm``."""
    entries = _read("hosts.yaml", HostsFile).hosts
    _refuse_twice("hosts.yaml", [host.name for host in entries])
    return {host.name: host for host in entries}


@cache
def tested_versions() -> dict[str, tuple[str, ...]]:
    """Distribution -> versions that the tests run, hosts included."""
    file = _read("hosts.yaml", HostsFile)
    return {host.distribution: host.tested for host in file.hosts} | file.packages


@cache
def releases() -> tuple[Release, ...]:
    """Known revisions of the official data, the newest first."""
    found = _read("releases.yaml", tuple[Release, ...])
    _refuse_twice("releases.yaml", [release.name for release in found])
    return found


def resolve_model(name: str) -> Model | None:
    """The model of this name, alias, hub id or display name; upper and lower case alike."""
    return _names().get(_fold(name.removeprefix("hf:")))


def find_model(name: str) -> Model:
    """Like `resolve_model`.

    Raises:
        SpyBenchError: there is none; the closest names are given.
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
    """One name for one model, whatever a host called it; a name we do not know stays as it is.

    Knows names, aliases, hub ids (also as ``org__model``, as lmms-eval names its folders), and
    local folders called like the repository.
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
    """Folded name -> model.

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
    """Where the YAML files are: inside the installed package, or beside it in a clone.

    Not looked up as a package: in a clone beside a plain install, `spy_plugin` is the clone's and
    `spy_plugin.registry_data` would be missing.
    """
    package = Path(__file__).parents[1]
    installed = package / "registry_data"
    return installed if installed.is_dir() else package.parent / "registry"


def parse(text: str, shape: type[T], *, path: str) -> T:
    """Check YAML text against a shape.

    Raises:
        DataError: it is not YAML, has a key twice, or does not fit; says where.
    """
    remedy = "Compare with the other entries and with the classes of spy_plugin/registry/schema.py."
    try:
        return TypeAdapter(shape).validate_python(yaml.load(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise DataError(f"is not YAML ({error})", remedy, path=path) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(first["msg"], remedy, path=path, where=where) from error


def _refuse_twice(file: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{name!r} stands there twice", "Name it once.", path=file)


class _Loader(_SafeLoader):
    """YAML that refuses a key that stands twice in a mapping."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) != len(node.value):
            raise yaml.constructor.ConstructorError(
                None, None, "a key stands there twice", node.start_mark
            )
        return mapping
