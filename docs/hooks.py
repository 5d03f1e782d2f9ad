"""MkDocs hooks: the command reference, formulas, and links to files of the repository.

- `commands.md` is generated from the ``--help`` of each command.
- Formulas become MathML, which browsers show without a script.
- A link from a page to a file of the repository becomes the name of that file, since the site does
  not contain it. In a checkout the link works.
"""

from __future__ import annotations

import html
import io
import os
import re
from contextlib import redirect_stdout
from unittest import mock

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from spy_plugin.cli.main import COMMANDS, main

COLUMNS = "80"
ACTIONS = re.compile(r"^    (\w+)  ", re.MULTILINE)
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)#]+)(?:#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the command reference."""
    files.append(File.generated(config, "commands.md", content=command_reference()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace links to files of the repository by their names."""
    return OUTSIDE.sub(_name_of_file, markdown)


def on_page_content(text: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Convert each formula to MathML."""
    return FORMULA.sub(_mathml, text)


def command_reference() -> str:
    """Render the ``--help`` of every command and action as Markdown."""
    parts = ["# Commands", "What `--help` prints, command by command."]
    for name, text in COMMANDS.items():
        shown = help_text(name)
        parts += [f"## {name}", f"{text[0].upper()}{text[1:]}.", _block(shown)]
        if name == "data":
            for action in ACTIONS.findall(shown):
                parts += [f"### {name} {action}", _block(help_text(name, action))]
    return "\n\n".join(parts) + "\n"


def help_text(*words: str) -> str:
    """Return what ``spy-bench WORDS --help`` prints."""
    out = io.StringIO()
    with mock.patch.dict(os.environ, COLUMNS=COLUMNS, NO_COLOR="1"), redirect_stdout(out):
        try:
            main([*words, "--help"])
        except SystemExit as stop:
            if stop.code:
                raise RuntimeError(f"spy-bench {' '.join(words)} --help failed") from stop
    return out.getvalue().strip()


def _block(text: str) -> str:
    return f"```text\n{text}\n```"


def _mathml(found: re.Match[str]) -> str:
    formula = html.unescape(found[2]).strip()
    if found[1] == "span":
        return convert(formula)
    # A formula that is wider than the screen of a phone scrolls.
    return f'<div style="overflow-x: auto">{convert(formula, display="block")}</div>'


def _name_of_file(found: re.Match[str]) -> str:
    text, path = found.groups()
    return text if path in text else f"{text} (`{path}`)"
