"""`spy-bench view` and `spy-bench report`: what they write, say, serve and leave behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
import webbrowser
from pathlib import Path

import pytest

from spy_plugin.cli.main import main
from spy_plugin.cli.report import FOLDER, OUT
from spy_plugin.report import browser
from tests.generation.conftest import in_a_process
from tests.report.made_up import verdicts, write_lmms_general, write_run


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one run, in the working folder."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs", "m", verdicts(items=10))
    return Path("runs")


def test_the_folder_has_one_name() -> None:
    assert FOLDER == browser.FOLDER


def test_static_writes_a_folder_and_ends(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main(["view", str(runs), "--static", "pages"]) == 0
    assert capsys.readouterr().out == "50 samples: pages/index.html\n" * 2
    assert {path.name for path in Path("pages").iterdir()} >= {"index.html", "data"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_interrupted_and_leaves_nothing(
    runs: Path, tmp_path: Path, number: signal.Signals
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = in_a_process(["view", str(runs), "--no-open"], {"TMPDIR": str(temporary)})
    assert process.stdout is not None
    found = re.fullmatch(
        r"50 samples: (http://127\.0\.0\.1:\d+/\S+/)index.html\n", process.stdout.readline()
    )
    assert found is not None
    assert process.stdout.readline() == "Ctrl-C ends it.\n"
    with urllib.request.urlopen(found[1] + "data/index.js") as answer:
        assert answer.read().startswith(b"spy.receive(")
    assert len(list(temporary.iterdir())) == 1
    start = time.monotonic()
    process.send_signal(number)
    out, errors = process.communicate(timeout=30)
    assert time.monotonic() - start < 4
    assert (process.returncode, out) == (0, "ended\n")
    assert "Traceback" not in errors
    assert not list(temporary.iterdir())


def test_the_browser_is_opened_with_the_address(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []

    class Window(webbrowser.BaseBrowser):
        """A browser that opens at once."""

        def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:
            opened.append(url)
            return True

    monkeypatch.setattr("webbrowser.get", lambda: Window("firefox"))
    monkeypatch.setattr(browser.BrowserServer, "serve", interrupt)
    assert main(["view", str(runs)]) == 0
    said = capsys.readouterr().out
    assert "No graphical browser" not in said
    printed = said.split()[2]
    token = printed.split("/")[3]
    # Other users see what a browser is started with: it does not hold the token.
    assert opened[0].startswith(printed.partition(token)[0])
    assert token not in opened[0]
    assert main(["view", str(runs), "--no-open"]) == 0
    assert len(opened) == 1
    assert "No graphical browser" not in capsys.readouterr().out


def interrupt(_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have a browser of their own")
@pytest.mark.parametrize("name", ["w3m", "lynx", "www-browser", "BROWSER=/bin/w3m", "none"])
def test_a_browser_of_the_terminal_is_not_started(
    runs: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    told, _, path = name.partition("=")
    command = Path(path or told).name
    if command != "none":
        # It would stay until the user leaves it.
        stays = f"#!/bin/sh\n/bin/touch {tmp_path}/started\nexec /bin/sleep 60\n"
        (folder / command).write_text(stays)
        (folder / command).chmod(0o755)
    environment = os.environ | {"PATH": str(folder), "TERM": "xterm"}
    for variable in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        environment.pop(variable, None)
    if path:
        environment["BROWSER"] = str(folder / command)
    process = subprocess.Popen(
        [sys.executable, "-m", "spy_plugin.cli", "view", str(runs.resolve())],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first, second, third = (process.stdout.readline() for _ in range(3))
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    process.stdout.close()
    assert "http://127.0.0.1:" in first
    assert second == "No graphical browser was found here: open the address in yours.\n"
    assert third == "Ctrl-C ends it.\n"
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere does not exist"),
        (["runs", "--static", "runs"], "is not a sample browser that spy-bench wrote"),
        (["runs", "--pictures"], "--pictures needs --static DIR"),
        (["runs", "--name", "x=y"], "--name is given for x, which is not a RUN"),
        (["general"], "hold general scores alone"),
    ],
)
def test_wrong_inputs_are_said_in_one_line(
    runs: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lmms_general(Path("general"), "m")
    assert main(["view", *words]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("spy-bench: error: ")
    assert said in line


@pytest.mark.parametrize("words", [[], ["runs", "--port", "65536"], ["runs", "--port", "x"]])
def test_a_wrong_command_line_is_refused(runs: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["view", *words])
    assert end.value.code == 2


def test_a_port_in_use_is_said_in_one_line(
    runs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with browser.BrowserServer(tmp_path, {}) as server:
        port = server.address.split(":")[2].split("/")[0]
        assert main(["view", str(runs), "--no-open", "--port", port]) == 1
    said = capsys.readouterr().err
    assert f"error: port {port} cannot be used (Address already in use). Name another one" in said


def test_report_has_a_default_folder_and_leaves_foreign_ones_alone(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):  # the second replaces the first
        assert main(["report", str(runs), "--resamples", "20"]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == f"{OUT}/samples/index.html"
    assert main(["report", str(runs), "--resamples", "20", "--no-samples", "--out", "other"]) == 0
    assert not (Path("other") / FOLDER).exists()
    (OUT / "report.json").unlink()
    capsys.readouterr()
    assert main(["report", str(runs)]) == 1
    assert "exists and does not hold a report" in capsys.readouterr().err


def test_a_foreign_folder_in_the_samples_place_is_left_alone(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (OUT / FOLDER).mkdir(parents=True)
    (OUT / FOLDER / "mine.txt").write_text("mine")
    (OUT / "report.json").write_text("{}")
    assert main(["report", str(runs), "--resamples", "20"]) == 1
    assert "is not a sample browser" in capsys.readouterr().err
    assert {path.name for path in OUT.iterdir()} == {"report.json", FOLDER}
