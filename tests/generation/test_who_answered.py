"""Who answered is part of a run: another server resumes it only when asked to, and is recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.cli.main import main
from tests.generation.conftest import STEM
from tests.models.faulty_server import FaultyServer, Reply, Script, completion, servers

Serve = Callable[[Script], FaultyServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with servers() as start:
        yield start


def words(server: FaultyServer, limit: int, *more: str) -> list[str]:
    run = ["generate", "--mini", "--backend", "openai", "--model", "served"]
    return [*run, "--base-url", server.url, "--limit", str(limit), *more]


def run_options(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{STEM}_run.json").read_text())["options"]
    return found


def test_another_server_is_refused_or_recorded_when_asked_for(
    serve: Serve, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (serve(lambda *_: completion("ok")) for _ in range(2))
    assert main(words(first, 3)) == 0
    assert run_options(folder)["server"] == first.url
    assert main(words(second, 6)) == 1
    said = capsys.readouterr().err
    assert f"was begun with server {first.url}; this run has server {second.url}" in said
    assert "add --other-server" in said
    assert second.requests == []
    assert main(words(second, 6, "--other-server")) == 0
    options = run_options(folder)
    assert (options["server"], options["earlier_servers"]) == (second.url, [first.url])
    assert len(second.requests) == 3


def test_another_model_by_the_servers_account_is_refused_or_recorded(
    serve: Serve, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "served-2024-08"

    def script(*_: Any) -> Reply:
        return Reply(body=str(completion("ok").body).replace('"served"', f'"{name}"'))

    server = serve(script)
    assert main(words(server, 3)) == 0
    assert run_options(folder)["answered_by"] == ["served-2024-08"]
    name = "served-2024-11"
    assert main(words(server, 6)) == 1
    said = capsys.readouterr().err
    assert "holds answers of served-2024-08, but the server now says that served-2024-11" in said
    assert main(words(server, 6, "--other-server")) == 0
    assert run_options(folder)["answered_by"] == ["served-2024-08", "served-2024-11"]
