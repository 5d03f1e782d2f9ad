"""Run the real `lmms-eval` in a process for each run, without the user's caches and keys."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.warm_process import WarmProcess

BIN = Path(sys.executable).parent
REPOSITORY = Path(__file__).parents[3]
SECONDS = 300


@dataclass(frozen=True)
class Result:
    """Output and files of a command."""

    code: int
    text: str

    def table(self) -> dict[tuple[str, str], str]:
        """The host's result table as (task, metric) -> value."""
        rows = {}
        for line in self.text.splitlines():
            cells = [cell.strip() for cell in line.split("|")[1:-1]]
            if len(cells) >= 8 and cells[3] not in ("", "Metric") and "---" not in cells[0]:
                rows[cells[0].lstrip("- "), cells[3]] = cells[5]
        return rows


class Harness:
    """Create a private home for everything that a run may write.

    Args:
        root: An empty folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        site = root / "site"
        site.mkdir()
        install_working_torchvision(site)
        self.env = {
            "PATH": f"{BIN}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "HOME": str(root),
            "PYTHONPATH": str(site),
            "SPY_BENCH_HOME": str(root / "spy-bench"),
            "HF_HOME": str(root / "hf"),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "NO_PROXY": "localhost,127.0.0.1",
            # The host's cache keys contain the commit of the repository that it is installed in.
            "GIT_DIR": str(root / "no-repository"),
        }
        self._warm = WarmProcess(
            "lmms_eval.__main__",
            "nltk",  # a metric of the host imports it at the end of each run
            f"{__name__}:index_tasks_once",
            environment=self.env,
        )

    def close(self) -> None:
        """End the process that has imported lmms-eval."""
        self._warm.close()

    def run(
        self,
        *words: str,
        script: Path = BIN / "lmms-eval",
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
    ) -> Result:
        """Run lmms-eval, imported before, or another script that starts it, and wait for it."""
        done = self._warm.run(
            script,
            words,
            cwd=cwd or self.root,
            environment=self.env | (env or {}),
            timeout=SECONDS,
            merged=True,
        )
        return Result(done.returncode, done.stdout)

    def facts(self, code: str, folder: Path) -> Any:
        """Run code in a process that has imported lmms-eval, and return its variable `facts`."""
        script, found = folder / "facts.py", folder / "facts.json"
        end = f"import json, pathlib\npathlib.Path({str(found)!r}).write_text(json.dumps(facts))\n"
        script.write_text(f"{code}\n{end}")
        done = self.run(script=script)
        assert done.code == 0, done.text
        return json.loads(found.read_text())

    def start(
        self,
        *words: str,
        command: tuple[str, ...] = (str(BIN / "lmms-eval"),),
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
    ) -> Result:
        """Start lmms-eval as a user does, or another command, and wait for it."""
        done = subprocess.run(
            [*command, *words],
            env=self.env | (env or {}),
            cwd=cwd or self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return Result(done.returncode, done.stdout)


def index_tasks_once() -> None:
    """Parse the host's two thousand task files now, which each run would do for its index."""
    from lmms_eval import tasks, utils

    load, shipped = utils.load_yaml_config, str(Path(tasks.__file__).parent)
    parsed: dict[str, bytes] = {}

    def remembering(yaml_path: Any = None, *args: Any, mode: str = "full", **options: Any) -> Any:
        path = str(yaml_path)
        if mode != "simple" or args or options or not path.startswith(shipped):
            return load(yaml_path, *args, mode=mode, **options)
        if path not in parsed:
            parsed[path] = pickle.dumps(load(yaml_path, mode=mode))
        return pickle.loads(parsed[path])  # a copy, faster than `deepcopy`

    utils.load_yaml_config = remembering
    tasks.TaskManager()


def install_working_torchvision(folder: Path) -> None:
    """Give an environment that `make setup` has not built what that target does for torchvision.

    Args:
        folder: Gets a fixed copy of torchvision if the installed one cannot be imported.
    """
    found = find_spec("torchvision")
    if found is None or found.origin is None:
        return
    works = subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True)
    if works.returncode == 0:
        return
    shutil.copytree(Path(found.origin).parent, folder / "torchvision")
    subprocess.run(
        [sys.executable, "-m", "spy_plugin.compat.torchvision"],
        env=os.environ | {"PYTHONPATH": str(folder)},
        check=True,
        capture_output=True,
    )


def results(out: Path) -> dict[str, Any]:
    """Find the newest results file below a folder."""
    paths = sorted(out.rglob("*_results.json"), key=lambda path: path.stat().st_mtime)
    found: dict[str, Any] = json.loads(paths[-1].read_text())
    return found


def rows(path: Path) -> list[dict[str, Any]]:
    """Read the objects of a JSONL file."""
    return [json.loads(line) for line in path.read_text().splitlines()]
