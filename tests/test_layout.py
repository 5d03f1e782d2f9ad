"""The layout: which folder may import which, and that each folder documents its content."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

ORDER = (
    "spy_plugin.errors",
    "spy_plugin.files spy_plugin.compat",
    "spy_plugin.registry_data",
    "spy_plugin.registry",
    "spy_plugin.benchmark",
    "spy_plugin.scoring",
    "spy_plugin.data",
    "spy_plugin.embedded",
    "spy_plugin.benchmarks",
    "spy_plugin.models",
    "spy_plugin.runs",
    "spy_plugin.generation",
    "spy_plugin.judging",
    "spy_plugin.report",
    "spy_plugin.own spy_plugin.sharing",
    "spy_plugin.hosts",
    "trl_ext",
    "spy_plugin.lab",
    "spy_plugin.cli",
)
"""From the bottom up: a module imports only from its own folder and from those listed before."""

RANK = {place: rank for rank, places in enumerate(ORDER) for place in places.split()}
NEIGHBOURS = {place: places.split() for places in ORDER for place in places.split()}
ANYWHERE = {"spy_plugin"}
"""The package itself: its version, and public names that are resolved on first use."""

SOURCES = sorted(
    path
    for top in ("spy_plugin", "trl_ext")
    for path in (ROOT / top).rglob("*.py")
    if path.name != "__init__.py" or path.parent != ROOT / "spy_plugin"
)


def place_of(module: str) -> str:
    """The entry of `ORDER` that a module belongs to; empty if there is none."""
    first, _, rest = module.partition(".")
    place = first if first == "trl_ext" else f"{first}.{rest.partition('.')[0]}".rstrip(".")
    return place if place in RANK or place in ANYWHERE else ""


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, module) of every import of ours, including those in functions and for types."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:  # a relative import
                parents = path.relative_to(ROOT).parts[: -node.level]
                module = ".".join([*parents, *filter(None, [module])])
            # `from spy_plugin import benchmarks` names a module, not the package.
            inside = module in ("spy_plugin",)
            names = [f"{module}.{alias.name}" if inside else module for alias in node.names]
            names = ["spy_plugin" if name == "spy_plugin.__version__" else name for name in names]
        for name in names:
            if name.partition(".")[0] in ("spy_plugin", "trl_ext"):
                yield node.lineno, name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    own = place_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert own, f"{path} is in no place of the design"
    wrong = [
        f"line {line}: {module}"
        for line, module in imports_of(path)
        if (place := place_of(module)) not in ANYWHERE
        and (place == "" or RANK[place] > RANK[own] or place in set(NEIGHBOURS[own]) - {own})
    ]
    assert not wrong, f"{own} must not import {'; '.join(wrong)}"


def test_no_import_circles_between_the_modules() -> None:
    """Modules that import each other, even inside functions, must be merged or split."""
    graph = {_module(path): _targets(path) for path in SOURCES}
    circles = sorted(
        {
            tuple(sorted((name, other)))
            for name, targets in graph.items()
            for other in targets
            if other != name and name in graph.get(other, set())
        }
    )
    assert not circles


def test_the_top_of_the_packages_is_narrow() -> None:
    assert len(list((ROOT / "spy_plugin").glob("*.py"))) <= 5
    assert len(list((ROOT / "trl_ext").glob("*.py"))) <= 8


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / "spy_plugin").rglob("__init__.py")),
    ids=lambda path: str(path.parent.relative_to(ROOT)),
)
def test_every_folder_says_what_lives_there(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _targets(path: Path) -> set[str]:
    """The modules that a file imports; `from package import module` counts as the module."""
    known = {_module(source) for source in SOURCES}
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & known
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
    return found & known
