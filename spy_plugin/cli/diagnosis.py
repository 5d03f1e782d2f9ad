"""What is wrong with an installation, and the one command that fixes each thing.

Nothing heavy is imported here: packages are known by their metadata, GPUs by their driver's own
tool, and the hosts run in interpreters of their own.
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spy_plugin import __version__
from spy_plugin.benchmarks import OFFICIAL, RELEASE_VARIABLE, open_benchmark
from spy_plugin.cli.host_checks import HOST_CHECKS, check_host
from spy_plugin.cli.ray_check import check_ray
from spy_plugin.data.prepared import RECORD, Part, folder_of, read_prepared
from spy_plugin.errors import DataError, SpyBenchError
from spy_plugin.files.home import home
from spy_plugin.hosts.hooks import VARIABLE, switched_off
from spy_plugin.hosts.pth_file import PthFile
from spy_plugin.registry.catalog import models, version_of
from spy_plugin.registry.packages import CORE, Package, installed, requirements

logger = logging.getLogger(__name__)

DATA_PARTS: dict[str, Part] = {"data": "official", "tune": "tune"}
SUPPORTED_PYTHON = ((3, 10), (3, 13))

_KEYS = ("JUDGE_API_KEY", "JUDGE_BASE_URL", "JUDGE_MODEL", "OPENAI_BASE_URL", "HF_TOKEN")


@dataclass(frozen=True)
class Problem:
    """Something that does not work.

    Attributes:
        part: ``core``, an extra, ``data``, ``tune`` or ``judge``.
        fix: The one command or step that fixes it.
    """

    part: str
    problem: str
    fix: str


@dataclass
class Findings:
    """Everything that was looked at.

    Attributes:
        extras: Extra -> its packages.
        hosts: Extra -> whether what it installs works with us.
        plugin: Whether VLMEvalKit's own run.py sees us.
        ray: The Ray cluster that is there; empty if it was not looked for.
    """

    system: dict[str, Any]
    extras: dict[str, list[Package]]
    hosts: dict[str, str] = field(default_factory=dict)
    plugin: str = ""
    ray: str = ""
    keys: dict[str, bool] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    cache: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def parts() -> tuple[str, ...]:
    """Return everything that `examine` can be asked for: the core, the extras, data and judge."""
    return (*requirements(), *DATA_PARTS, "judge")


def examine(asked: Iterable[str] = (), *, quick: bool = False) -> Findings:
    """Look at the whole installation.

    Args:
        asked: Parts that must work: whatever they lack is a problem. Other extras are a problem
            only if they are installed and broken.
        quick: Import the hosts instead of scoring a sample through each.
    """
    asked = {CORE, *asked}
    findings = Findings(system=_system(), extras=requirements())
    findings.problems += _python_problems() + list(_package_problems(findings, asked))
    _check_hosts(findings, asked, quick)
    findings.plugin = "enabled" if PthFile.here().enabled() else "disabled"
    if "ray" in asked and installed("ray", findings.extras.get("ray", [])):
        findings.ray, problems = check_ray()
        findings.problems += [Problem("ray", problem, fix) for problem, fix in problems]
    findings.keys = {name: bool(os.environ.get(name)) for name in _key_names()}
    findings.problems += _judge_problems() if "judge" in asked else []
    for part, folder in DATA_PARTS.items():
        findings.data[part] = _data(part, folder, findings.problems, part in asked)
    findings.cache = _cache()
    return findings


def _python_problems() -> list[Problem]:
    low, high = SUPPORTED_PYTHON
    if low <= sys.version_info[:2] <= high:
        return []
    fix = "python3.11 -m venv .venv && .venv/bin/pip install spy-bench"
    return [Problem(CORE, f"Python {platform.python_version()} is not supported", fix)]


def _package_problems(findings: Findings, asked: set[str]) -> Iterator[Problem]:
    for extra, packages in findings.extras.items():
        wants = extra in asked or installed(extra, packages)
        target = "spy-bench" if extra == CORE else f"'spy-bench[{extra}]'"
        missing = [package.name for package in packages if package.state == "missing"]
        if missing and wants:
            yield Problem(extra, f"{', '.join(missing)} not installed", f"pip install {target}")
        for package in packages:
            if package.state == "unsupported" and wants:
                yield Problem(
                    extra,
                    f"{package.name} {package.version} does not satisfy {package.wanted}",
                    f"pip install '{package.name}{package.wanted}'",
                )
    torch = version_of("torch")
    if torch.endswith("+cpu") and findings.system["gpus"]:
        for extra in sorted({"vllm", "train", "vlmeval", "lmms"} & asked):
            yield Problem(
                extra,
                f"torch {torch} is a CPU build, and there is a GPU",
                f"pip install --force-reinstall torch=={torch.partition('+')[0]}",
            )


def _check_hosts(findings: Findings, asked: set[str], quick: bool) -> None:
    """Try each installed host, or those asked for: each takes up to a minute."""
    there = [extra for extra in HOST_CHECKS if installed(extra, findings.extras.get(extra, []))]
    for extra, check in HOST_CHECKS.items():
        if extra not in there:
            findings.hosts[extra] = "not installed"
        elif asked != {CORE} and extra not in asked:
            findings.hosts[extra] = "not checked"
        elif check.command and check.switched and switched_off():
            findings.hosts[extra] = f"switched off by {VARIABLE}"
            findings.problems.append(Problem(extra, findings.hosts[extra], f"unset {VARIABLE}"))
        else:
            findings.hosts[extra] = _check_host(extra, quick, findings.problems)


def _check_host(extra: str, quick: bool, problems: list[Problem]) -> str:
    scores = bool(HOST_CHECKS[extra].command) and not quick
    logger.info("%s %s", "scoring one sample through" if scores else "importing", extra)
    failure = check_host(extra, quick=quick)
    if failure:
        fix = f"pip install --force-reinstall 'spy-bench[{extra}]'"
        if "torchvision::nms" in failure:
            fix = "python -m spy_plugin.compat.torchvision"
        problems.append(Problem(extra, failure, fix))
        return f"fails: {failure}"
    return "scored one sample" if scores else "imported"


def _key_names() -> list[str]:
    """Names of variables that hold keys or addresses; only whether they are set is shown."""
    return sorted({*_KEYS, *(model.api.key_variable for model in models() if model.api)})


def _judge_problems() -> list[Problem]:
    from spy_plugin.models.base import ModelSetupError
    from spy_plugin.models.options import JUDGE
    from spy_plugin.models.servers import find_server

    try:
        find_server(os.environ.get("JUDGE_MODEL") or "gpt-4o", role=JUDGE)
    except ModelSetupError as error:
        return [Problem("judge", str(error), "export OPENAI_API_KEY=...")]
    return []


def _data(part: str, name: Part, problems: list[Problem], asked: bool) -> str:
    named = os.environ.get(RELEASE_VARIABLE, "") if name == "official" else ""
    if named:
        try:
            open_benchmark(OFFICIAL)
        except SpyBenchError as error:
            fix = f"unset {RELEASE_VARIABLE}, or set it to the root of the official release"
            problems.append(Problem(part, str(error), fix))
            return "broken"
        return f"{RELEASE_VARIABLE} is {named}"
    option = " --tune train_data.json" if name == "tune" else ""
    fix = f"spy-bench data prepare{option}"
    if not (folder_of(name) / RECORD).is_file():
        if asked:
            problems.append(Problem(part, f"{folder_of(name)} holds no prepared data", fix))
        return "not prepared"
    try:
        prepared = read_prepared(name)
    except DataError as error:
        problems.append(Problem(part, str(error), f"{fix} --force"))
        return "broken"
    if prepared is None or not prepared.image_root.is_dir():
        where = prepared.image_root if prepared else folder_of(name)
        problems.append(Problem(part, f"the pictures are missing: {where}", f"{fix} --force"))
        return "pictures are missing"
    revision = prepared.record.revision if prepared.pinned else "unpinned"
    return f"{revision}, {prepared.record.images:,} pictures, fingerprint {prepared.fingerprint}"


def _cache() -> dict[str, Any]:
    size = 0
    for folder, _, names in os.walk(home()):
        for name in names:
            path = Path(folder, name)
            size += path.lstat().st_size
    place = home()
    while not place.exists():
        place = place.parent
    return {"path": str(home()), "bytes": size, "free_bytes": shutil.disk_usage(place).free}


def _system() -> dict[str, Any]:
    pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    page = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    return {
        "spy_bench": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "memory_bytes": pages * page,
        "gpus": _gpus(),
    }


def _gpus() -> list[str]:
    """Return name, memory and driver version of each NVIDIA GPU, as `nvidia-smi` lists them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        ran = subprocess.run([tool, *query], capture_output=True, text=True, timeout=30)
    except subprocess.TimeoutExpired:
        return []
    return [line.strip() for line in ran.stdout.splitlines()] if ran.returncode == 0 else []
