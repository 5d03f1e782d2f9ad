"""Every shell and Python block of the documentation runs as printed, in a fresh copy of the clone.

A page is a scenario: its blocks run from top to bottom in one folder. The quick tests keep the
tables of `commands.py` exact; the runs take minutes (`make docs-commands`).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, needs
from tests.docs import folder
from tests.docs.commands import NOT_RUN, PAGES, STAND_INS, Block, blocks, why_not, with_stand_ins
from tests.docs.server import server
from tests.models.faulty_server import KEY

ALL = {page.relative_to(ROOT).as_posix(): list(blocks(page)) for page in PAGES}
RUN = {
    name: found
    for name, found in ALL.items()
    if any(why_not(command) is None for block in found for command in block.commands)
}


def test_the_pages_have_commands() -> None:
    assert sum(len(block.commands) for found in ALL.values() for block in found) > 120
    assert len(RUN) > 12


@pytest.mark.parametrize("pattern", NOT_RUN)
def test_what_is_not_run_is_still_documented(pattern: str) -> None:
    patterns = {why_not(c) for found in ALL.values() for block in found for c in block.commands}
    assert pattern in patterns, f"{pattern!r} matches no command any more: remove it from NOT_RUN"


@pytest.mark.parametrize("pattern", STAND_INS)
def test_every_stand_in_is_needed(pattern: str) -> None:
    texts = [
        command
        for found in ALL.values()
        for block in found
        for command in block.commands
        if why_not(command) is None
    ]
    texts.append((ROOT / "docs/matrix.md").read_text(encoding="utf-8"))
    assert any(re.search(pattern, text) for text in texts), "remove it from STAND_INS"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with server() as url:
        yield url


@pytest.mark.slow
@pytest.mark.timeout(3600)
@needs("vlmeval")
@needs("lmms_eval")
@needs("trl")
@needs("ray")
@pytest.mark.parametrize("page", RUN)
def test_the_commands_of_a_page_run(page: str, address: str, tmp_path: Path) -> None:
    place = folder.clone(tmp_path / "clone")
    folder.furnish(place, page, address)
    for block in RUN[page]:
        run(block, place, address)


def run(block: Block, place: Path, address: str) -> None:
    """Run the commands of a block that can run here, as one script."""
    kept = [with_stand_ins(c, address) for c in block.commands if why_not(c) is None]
    if block.language == "python":
        words = [sys.executable, "-c", *kept]
    else:
        words = ["bash", "-euxo", "pipefail", "-c", "\n".join(kept)]
    done = subprocess.run(
        words,
        cwd=place,
        env=environment(address, place),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, (
        f"{block.place} ended with {done.returncode}:\n{done.stdout[-6000:]}"
    )
    # With these words lmms-eval ends with 0.
    assert "Error during evaluation" not in done.stdout, f"{block.place}:\n{done.stdout[-6000:]}"


def environment(address: str, place: Path) -> dict[str, str]:
    """A user who has the release and a key, in an activated environment, without a network."""
    path = os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ["PATH"]])
    return os.environ | {
        "PATH": path,
        "SPY_BENCH_RELEASE": str(place / "path/to/release"),
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": address,
        "HF_HUB_OFFLINE": "1",
        "NO_MKDOCS_2_WARNING": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
