"""`docs/hosts.md` lists whatever this package changes in other packages."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from spy_plugin.hosts.patches import Patch
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "hosts.md"
SOURCES = sorted(path for top in ("spy_plugin", "trl_ext") for path in (ROOT / top).rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}

PROCESS_WIDE = ("sys.argv", "sys.path", "sys.meta_path", "sys.modules", "os.environ")
CHANGING = ("append", "insert", "pop", "update", "setdefault")

HARMLESS = (
    "setattr(row.figures[OVERALL], name, float(overall_score(bound, score)))",
    "os._exit",  # documented, in spite of its name
)
"""What looks like a change to another package and is none."""


def own_private_names() -> set[str]:
    """Names with a leading underscore that our code defines: reading them touches nobody else."""
    found: set[str] = set()
    for node in (node for tree in TREES.values() for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found |= set() if _is_foreign(node) else {node.attr}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def changes(tree: ast.Module, own: set[str]) -> Iterator[str]:
    """Yield ``line: code`` of whatever looks like a change to, or a use of, foreign internals."""
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        looks_so = (
            (isinstance(node, ast.Assign) and _replaces(node, functions))
            or (isinstance(node, ast.Delete) and any(map(_is_foreign, node.targets)))
            or (isinstance(node, ast.Call) and _changes_by_call(node))
            or (isinstance(node, ast.Attribute) and _is_private(node, own))
            or (isinstance(node, ast.ImportFrom) and _imports_private(node))
        )
        if looks_so and ast.unparse(node) not in HARMLESS:
            yield f"line {node.lineno}: {ast.unparse(node)}"


def _replaces(node: ast.Assign, functions: set[str]) -> bool:
    """A function put onto a foreign object, or an assignment to something process-wide."""
    value = node.value
    function = (
        isinstance(value, ast.Lambda)
        or (isinstance(value, ast.Name) and value.id in functions)
        or (isinstance(value, ast.Call) and ast.unparse(value.func) == "partial")
    )
    return any(
        ast.unparse(target).startswith(PROCESS_WIDE)
        or (function and isinstance(target, ast.Attribute) and _is_foreign(target))
        for target in node.targets
    )


def _changes_by_call(node: ast.Call) -> bool:
    called = ast.unparse(node.func)
    owner, _, method = called.rpartition(".")
    return (
        (called in ("setattr", "delattr") and ast.unparse(node.args[0]) not in ("self", "args"))
        or (owner.startswith(PROCESS_WIDE) and method in CHANGING)
        or called == "torch.library.Library"
        or (method == "register" and owner[:1].isupper())
    )


def _is_private(node: ast.Attribute, own: set[str]) -> bool:
    if not node.attr.startswith("_") or node.attr.startswith("__"):
        return False
    overridden = ast.unparse(node.value) == "super()"
    return overridden or (_is_foreign(node) and node.attr not in own)


def _imports_private(node: ast.ImportFrom) -> bool:
    foreign = node.module and node.module.partition(".")[0] not in ("spy_plugin", "trl_ext")
    return bool(foreign) and any(
        part.startswith("_") and not part.startswith("__")
        for part in [*str(node.module).split("."), *(alias.name for alias in node.names)]
    )


def _is_foreign(node: ast.AST) -> bool:
    """An attribute of something else than `self`, or a part of something process-wide."""
    if isinstance(node, ast.Attribute):
        return ast.unparse(node.value) not in ("self", "cls")
    return ast.unparse(node).startswith(PROCESS_WIDE)


def listed() -> set[str]:
    """The modules that the table's column "Where" names."""
    rows = [line.split("|") for line in PAGE.read_text(encoding="utf-8").splitlines()]
    return {row[3].strip(" `") for row in rows if len(row) == 8 and row[3].strip().endswith(".py`")}


def test_every_module_that_changes_another_package_is_listed() -> None:
    own, known = own_private_names(), listed()
    paths = {str(path.relative_to(ROOT)): tree for path, tree in TREES.items()}
    found = {path: list(changes(tree, own)) for path, tree in paths.items() if path not in known}
    assert not {path: lines for path, lines in found.items() if lines}


def test_every_listed_module_exists() -> None:
    assert len(listed()) > 10
    assert not [name for name in listed() if not (ROOT / name).is_file()]


def test_every_function_that_is_replaced_is_listed_by_name() -> None:
    pytest.importorskip("pandas")
    from spy_plugin.hosts.lmms import patches as lmms
    from spy_plugin.hosts.vlmeval import patches as vlmeval

    values = [*vars(lmms).values(), *vars(vlmeval).values()]
    flat = [each for value in values for each in (value if isinstance(value, tuple) else [value])]
    found = [each.target for each in flat if isinstance(each, Patch)]
    page = PAGE.read_text(encoding="utf-8")
    assert len(found) >= 9
    assert not [target for target in found if f"`{target.replace(':', '.')}`" not in page]
