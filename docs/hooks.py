"""What the site needs beyond its generator: the command reference, formulas, links to files.

- `commands.md` is made here from the commands' own ``--help``.
- Formulas become MathML, which browsers show without a script.
- A link from a page to a file of the repository becomes that file's name, since the site has no
  such file. Where the pages are read beside the code, the link works.
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
OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)#]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the command reference."""
    files.append(File.generated(config, "commands.md", content=command_reference()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Name files of the repository instead of linking to them."""
    return OUTSIDE.sub(_name_of_file, markdown)


def on_page_content(text: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn each formula into MathML."""
    return FORMULA.sub(_mathml, text)


def command_reference() -> str:
    """Every command and action with its ``--help``, as Markdown."""
    parts = ["# Commands", "What `--help` prints, command by command."]
    for name, text in COMMANDS.items():
        shown = help_text(name)
        parts += [f"## {name}", f"{text[0].upper()}{text[1:]}.", _block(shown)]
        if name == "data":
            for action in ACTIONS.findall(shown):
                parts += [f"### {name} {action}", _block(help_text(name, action))]
    return "\n\n".join(parts) + "\n"


def help_text(*words: str) -> str:
    """What ``spy-bench WORDS --help`` prints."""
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
    # A formula wider than a phone scrolls.
    return f'<div style="overflow-x: auto">{convert(formula, display="block")}</div>'


def _name_of_file(found: re.Match[str]) -> str:
    text, path = found.groups()
    return text if path in text else f"{text} (`{path}`)"
