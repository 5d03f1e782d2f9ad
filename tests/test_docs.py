"""Every command in the documentation is one that exists, with options that it accepts."""

from __future__ import annotations

import configparser
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from spy_plugin.benchmark.policies import POLICIES
from spy_plugin.cli.main import parse
from spy_plugin.hosts.vlmeval import run as vlmeval_run
from spy_plugin.models.packaged import PACKAGED
from spy_plugin.registry.catalog import hosts, resolve_model, variants

from .conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(?:sh|bash|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(page: Path) -> Iterator[str]:
    """Command lines of a page's shell blocks, without prompts, comments and continuations."""
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words and words[0] != "export":
                yield shlex.join(words)


ALL = [(page.name, command) for page in PAGES for command in commands(page)]


@pytest.mark.parametrize(("page", "command"), ALL, ids=lambda value: str(value)[:60])
def test_documented_commands_are_real(page: str, command: str) -> None:
    words = shlex.split(command)
    if words[0] == "spy-bench":
        if "--help" not in words:
            parse(words[1:])
    elif words[:2] == ["python", "run.py"]:
        check_vlmeval(words[2:])
    elif words[0] == "make":
        makefile = (ROOT / "Makefile").read_text()
        for target in words[1:]:
            assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target
    elif words[:2] == ["pip", "install"]:
        check_extras(words)
    elif words[0] == "lmms-eval" and "--tasks" in words:
        check_tasks(words[words.index("--tasks") + 1].split(","))


def check_vlmeval(words: list[str]) -> None:
    options, _ = vlmeval_run.parse(words)
    known = {v.vlmeval for v in variants()} | {"MMMU", "OCRBench", "MME"}
    assert set(options.data) <= known | set(hosts()["vlmeval"].dataset_aliases.values())
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


def check_tasks(tasks: list[str]) -> None:
    folder = ROOT / "spy_plugin" / "hosts" / "lmms" / "tasks"
    known = {v.lmms for v in variants()} | {path.stem for path in folder.rglob("*.yaml")}
    known |= set(re.findall(r"^group: *(\w+)", _texts(folder), re.MULTILINE))
    known |= {"mmmu_val", "ocrbench", "mme"}
    assert set(tasks) <= known


def _texts(folder: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.yaml"))


def test_the_pages_have_commands() -> None:
    assert len(ALL) > 5


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
