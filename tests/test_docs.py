"""Every command, file, module and variable that the documentation names exists today."""

from __future__ import annotations

import ast
import configparser
import io
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path

import pytest
import yaml

from spy_plugin.benchmark.policies import POLICIES
from spy_plugin.cli.main import COMMANDS, main, parse
from spy_plugin.hosts.vlmeval import names
from spy_plugin.hosts.vlmeval import run as vlmeval_run
from spy_plugin.models.packaged import PACKAGED
from spy_plugin.registry.catalog import hosts, resolve_model, variants

from .conftest import ROOT

PAGES = sorted(
    {
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "benchmarks").rglob("*.md"),
        *(ROOT / "spy_plugin").rglob("*.md"),
    }
)
BLOCK = re.compile(r"^```([\w-]*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
OURS = re.compile(r"(spy_plugin|trl_ext|registry|tests|benchmarks|docs)/[\w./*-]+")
MODULE = re.compile(r"(spy_plugin|trl_ext)(\.\w+)+")
VARIABLE = re.compile(r"(?:SPY_BENCH|JUDGE)_[A-Z_0-9]+")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@cache
def text_of(page: Path) -> str:
    """Return a page; of the changelog only the newest version, since older ones are history."""
    text = page.read_text(encoding="utf-8")
    return "\n## ".join(text.split("\n## ")[:2]) if page.name == "CHANGELOG.md" else text


def commands(page: Path) -> Iterator[str]:
    """Command lines in the shell blocks of a page, without prompts, comments and continuations.

    In a block without a language only the lines that start with `spy-bench` are commands.
    """
    for language, block in BLOCK.findall(text_of(page)):
        if language not in ("sh", "bash", "console", ""):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            if not language and not line.startswith("spy-bench "):
                continue
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words and words[0] != "export":
                yield shlex.join(words)


def inline(page: Path) -> Iterator[str]:
    """Inline code of a page."""
    yield from INLINE.findall(re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL))


ALL = [(name_of(page), command) for page in PAGES for command in commands(page)]


@pytest.mark.parametrize(("page", "command"), ALL, ids=lambda value: str(value)[:60])
def test_documented_commands_are_real(page: str, command: str) -> None:
    words = shlex.split(command)
    if words[0] == "spy-bench":
        check_spy_bench(words[1:])
    elif words[:2] == ["python", "run.py"]:
        check_vlmeval(words[2:])
    elif words[0] == "make":
        makefile = (ROOT / "Makefile").read_text()
        for target in words[1:]:
            assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target
    elif words[:2] == ["pip", "install"]:
        check_extras(words)
    elif words[0] == "lmms-eval" and "--tasks" in words:
        check_tasks(words)
    elif words[0].endswith("python") and len(words) > 1 and words[1].startswith("benchmarks/"):
        check_script(words[1:])
    elif "-m" in words and words[words.index("-m") + 1].startswith(("spy_plugin", "trl_ext")):
        assert exists(words[words.index("-m") + 1])


def check_spy_bench(words: list[str]) -> None:
    if "--help" in words:
        return
    parse(words)
    if words[:2] == ["run", "vlmeval"]:
        check_vlmeval(words[3:])
    elif words[:2] == ["run", "lmms-eval"]:
        check_tasks(words)
    elif words[0] == "train":
        pytest.importorskip("trl")
        known = options_of("train", words[1]) | options_of("train")
        assert {word for word in words if word.startswith("--")} <= known


@cache
def options_of(*words: str) -> set[str]:
    """The long options in the ``--help`` of a command."""
    out = io.StringIO()
    with redirect_stdout(out), pytest.raises(SystemExit):
        main([*words, "--help"])
    return set(re.findall(r"--[a-z][\w-]*", out.getvalue()))


def check_vlmeval(words: list[str]) -> None:
    options, _ = vlmeval_run.parse(words)
    known = {v.vlmeval for v in variants()} | {"MMMU", "OCRBench", "MME"}
    assert set(map(names.dataset, options.data)) <= known | set(
        hosts()["vlmeval"].dataset_aliases.values()
    )
    for model in options.model:
        own = model in POLICIES or model in PACKAGED or model.startswith("hf:")
        assert own or resolve_model(model) or options.base_url, model


def check_extras(words: list[str]) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg")
    for word in words:
        found = re.search(r"\[(.*)\]", word)
        for extra in found[1].split(",") if found else []:
            assert extra in parser["options.extras_require"], extra


def check_tasks(words: list[str]) -> None:
    folder = ROOT / "spy_plugin" / "hosts" / "lmms" / "tasks"
    known = {v.lmms for v in variants()} | {path.stem for path in folder.rglob("*.yaml")}
    known |= set(re.findall(r"^group: *(\w+)", _texts(folder), re.MULTILINE))
    known |= {"mmmu_val", "ocrbench", "mme", "list"}
    assert set(words[words.index("--tasks") + 1].split(",")) <= known


def _texts(folder: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.yaml"))


def check_script(words: list[str]) -> None:
    """The script exists and its source declares each option."""
    source = (ROOT / words[0]).read_text(encoding="utf-8")
    for word in words[1:]:
        if word.startswith("--"):
            assert f'"{word}"' in source, word


def test_the_pages_have_commands() -> None:
    assert len(ALL) > 50


def test_scripts_and_yaml_that_cannot_run_here_can_be_read() -> None:
    found = [block for page in PAGES for block in BLOCK.findall(text_of(page))]
    programs = [text for language, text in found if language == "sh" and text.startswith("#!")]
    for program in programs:
        subprocess.run(["bash", "-n"], input=program, text=True, check=True)
    documents = [yaml.safe_load(text) for language, text in found if language == "yaml"]
    assert programs
    (cluster,) = [each for each in documents if each.get("kind") == "RayCluster"]
    # As in https://ray-project.github.io/kuberay/reference/api/
    assert cluster["spec"]["authOptions"] == {"mode": "token"}
    assert set(cluster["spec"]) == {
        *("rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"),
    }
    groups = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]
    for group in groups:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        (container,) = group["template"]["spec"]["containers"]
        assert set(container) == {"name", "image", "resources"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_the_text_are_real(page: Path) -> None:
    """`spy-bench COMMAND --option ...` within a sentence: the command and its options exist."""
    for code in inline(page):
        words = code.split()
        if words[0] != "spy-bench" or len(words) == 1 or words[1].startswith(("--", "CMD", "...")):
            continue
        for command in words[1].split("|"):
            assert command in COMMANDS, code
            if command not in ("run", "train"):
                action = [command, *[w for w in words[2:3] if command == "data" and w.isalpha()]]
                options = {re.split("[=|]", word)[0] for word in words if word.startswith("--")}
                assert options <= options_of(*action), code


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_and_modules_in_the_text_exist(page: Path) -> None:
    for code in inline(page):
        if OURS.fullmatch(code):
            assert list(ROOT.glob(code.rstrip("/"))), code
        elif MODULE.fullmatch(code):
            assert exists(code), code


def exists(name: str) -> bool:
    """Whether a dotted name is one of our modules, or a name that one defines or imports."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        base = ROOT.joinpath(*parts[:length])
        path = next(
            (p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None
        )
        if path is not None:
            rest = parts[length:]
            return not rest or rest[0] in names_in(path)
    return False


@cache
def names_in(path: Path) -> set[str]:
    """The names at the top level of a module, and what it makes available lazily."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            found |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            found |= {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and n.value}
    return {each for each in found if isinstance(each, str)}


@cache
def sources() -> str:
    paths = [p for top in ("spy_plugin", "trl_ext") for p in (ROOT / top).rglob("*.py")]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_environment_variables_are_read_somewhere(page: Path) -> None:
    for variable in VARIABLE.findall(text_of(page)):
        assert variable in sources(), variable


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"\w+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = page.parent / target if target else page
        generated = path == ROOT / "docs" / "commands.md"  # `docs/hooks.py` makes it
        assert generated or path.exists(), link
        if anchor and path.suffix == ".md" and not generated:
            assert anchor in anchors(path), link


@cache
def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as MkDocs and GitHub write them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", title).strip().lower() for title in titles]
    return {re.sub(r"\s", "-", title) for title in plain} | {
        re.sub(r"[\s-]+", "-", title) for title in plain
    }
