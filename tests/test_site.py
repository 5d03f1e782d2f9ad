"""The documentation site builds without warnings, has no broken links, and works offline."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from spy_plugin.cli.main import COMMANDS

from .conftest import ROOT

NEEDED = ("mkdocs", "material", "mkdocstrings", "mkdocstrings_handlers.python", "latex2mathml")
LOADED = {"script", "img", "iframe", "source", "video", "audio", "embed", "object", "input"}
"""Elements that a browser loads by itself; for `link` this depends on its `rel`."""

LOADED_LINKS = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "modulepreload"}


class Reader(HTMLParser):
    """Collects the anchors of a page, the addresses it links to, and those it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        address = values.get("href") or values.get("src") or values.get("data")
        if tag == "a" and address:
            self.links.append(address)
        elif tag in LOADED and address:
            self.loads.append(address)
        elif tag == "link" and LOADED_LINKS & set(values.get("rel", "").split()):
            self.loads.append(address or "")


def found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the parent package is missing
        return False


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = [module for module in NEEDED if not found(module)]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: pip install 'spy-bench[docs]'")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    built = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return out


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Reader]:
    readers = {}
    for path in site.rglob("*.html"):
        readers[path] = Reader()
        readers[path].feed(path.read_text(encoding="utf-8"))
    return readers


def test_every_page_is_in_the_menu_and_is_built(pages: dict[Path, Reader], site: Path) -> None:
    names = {path.relative_to(site).with_suffix(".md").as_posix() for path in pages} - {"404.md"}
    written = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert names == written | {"commands.md"}
    assert names == set(menu())


def menu() -> Iterator[str]:
    """Yield the pages that mkdocs.yml lists."""
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    todo = list(nav)
    while todo:
        (value,) = todo.pop().values()
        if isinstance(value, str):
            yield value
        else:
            todo += value


def test_internal_links_lead_somewhere(pages: dict[Path, Reader]) -> None:
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links are absolute, since it is served for any address
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                broken.append(f"{path.name}: {link}")
            elif parts.fragment and target in pages:
                ids = pages[target].ids
                if unquote(parts.fragment) not in ids:
                    broken.append(f"{path.name}: {link}")
    assert sum(len(page.links) for page in pages.values()) > 100
    assert broken == []


def test_pages_load_nothing_from_other_hosts(pages: dict[Path, Reader], site: Path) -> None:
    loads = {(path.name, address) for path, page in pages.items() for address in page.loads}
    assert any(address.endswith(".css") for _, address in loads)
    assert [load for load in loads if urlsplit(load[1]).netloc] == []
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        addresses = re.findall(r"(?:url\(|@import)\s*[\"']?([^\"')\s]+)", text)
        assert [address for address in addresses if re.match(r"(https?:)?//", address)] == []


def test_the_command_reference_has_every_command(site: Path) -> None:
    text = (site / "commands.html").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f"usage: spy-bench {command} " in text
    assert "usage: spy-bench data export " in text


def test_formulas_need_no_script(site: Path) -> None:
    text = (site / "figures.html").read_text(encoding="utf-8")
    assert text.count('<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">') > 8
    assert "$" not in re.sub(r"<(script|code)\b.*?</\1>", "", text, flags=re.DOTALL)
    assert "arithmatex" not in text


def test_the_api_reference_shows_docstrings(site: Path) -> None:
    evaluation = (site / "api.html").read_text(encoding="utf-8")
    training = (site / "api_training.html").read_text(encoding="utf-8")
    for name in ("spy_plugin.compute", "spy_plugin.build_judge"):
        assert f'id="{name}"' in evaluation
    assert 'id="trl_ext.nca_priv.nca_priv_trainer.NCAPrivTrainer"' in training


def test_pages_contain_no_path_of_the_machine(site: Path) -> None:
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert str(ROOT) not in text, path.name
        assert str(Path.home()) not in text, path.name
