"""What is wrong with an installation, and the one command that mends each thing.

Nothing heavy is imported here: packages are known by their metadata, GPUs by their driver's own
tool, and the hosts are asked in interpreters of their own.
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spy_plugin import __version__
from spy_plugin.data.prepared import RECORD, Part, folder_of, read_prepared
from spy_plugin.errors import DataError
from spy_plugin.files.home import home
from spy_plugin.hosts.site_line import SiteLine
from spy_plugin.hosts.switch import VARIABLE, switched_off
from spy_plugin.registry.catalog import models
from spy_plugin.registry.packages import CORE, Package, installed, requirements, version_of

logger = logging.getLogger(__name__)

DATA_PARTS: dict[str, Part] = {"data": "official", "tune": "tune"}
SUPPORTED_PYTHON = ((3, 10), (3, 13))
PROBE_SECONDS = 300

_KEYS = ("JUDGE_API_KEY", "JUDGE_BASE_URL", "JUDGE_MODEL", "OPENAI_BASE_URL", "HF_TOKEN")

_PROBES = {
    "vlmeval": (
        "from spy_plugin.compat.torchvision import declare_missing_ops\n"
        "declare_missing_ops()\n"
        "from spy_plugin.hosts.vlmeval.registration import register\n"
        "import vlmeval.dataset\n"
        "seen = register() and 'SPYBench' in vlmeval.dataset.SUPPORTED_DATASETS\n"
    ),
    "lmms": (
        "import lmms_eval.models\n"
        "from spy_plugin.hosts.lmms.plugin import POLICY_MODEL\n"
        "seen = POLICY_MODEL in lmms_eval.models.MODEL_REGISTRY_V2.list_model_names()\n"
    ),
    "train": (
        "from trl_ext import NCAPrivTrainer\n"
        "from trl import DPOTrainer\n"
        "seen = issubclass(NCAPrivTrainer, DPOTrainer)\n"
    ),
}
"""Extra -> code for a fresh interpreter that says whether we and the package meet."""


@dataclass(frozen=True)
class Problem:
    """Something broken.

    Attributes:
        part: ``core``, an extra, ``data``, ``tune`` or ``judge``.
        mend: The one command or step that mends it.
    """

    part: str
    problem: str
    mend: str


@dataclass
class Findings:
    """Everything that was looked at."""

    system: dict[str, Any]
    extras: dict[str, list[Package]]
    hooks: dict[str, str] = field(default_factory=dict)
    keys: dict[str, bool] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    cache: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def parts() -> tuple[str, ...]:
    """What can be asked for: extras and the rest."""
    return (*requirements(), *DATA_PARTS, "judge")


def examine(asked: Iterable[str] = ()) -> Findings:
    """Look at the whole installation.

    Args:
        asked: Parts that have to work: what is missing of them is a problem. Of other extras only
            what is installed and broken is one.
    """
    asked = {CORE, *asked}
    findings = Findings(system=_system(), extras=requirements())
    findings.problems += _python_problems() + list(_package_problems(findings, asked))
    _ask_hosts(findings, asked)
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
    mend = "python3.11 -m venv .venv && .venv/bin/pip install spy-bench"
    return [Problem(CORE, f"Python {platform.python_version()} is not supported", mend)]


def _package_problems(findings: Findings, asked: set[str]) -> Iterator[Problem]:
    for extra, packages in findings.extras.items():
        wants = extra in asked or installed(extra, packages)
        target = "spy-bench" if extra == CORE else f"'spy-bench[{extra}]'"
        missing = [package.name for package in packages if package.state == "missing"]
        if missing and wants:
            yield Problem(extra, f"{', '.join(missing)} not installed", f"pip install {target}")
        for package in packages:
            if package.state == "too old" and wants:
                yield Problem(
                    extra,
                    f"{package.name} {package.version} is older than {package.wanted}",
                    f"pip install -U '{package.name}{package.wanted}'",
                )
    torch = version_of("torch")
    if torch.endswith("+cpu") and findings.system["gpus"]:
        for extra in sorted({"vllm", "train", "vlmeval", "lmms"} & asked):
            yield Problem(
                extra,
                f"torch {torch} is a CPU build, and there is a GPU",
                f"pip install --force-reinstall torch=={torch.partition('+')[0]}",
            )


def _ask_hosts(findings: Findings, asked: set[str]) -> None:
    """Whether each installed host sees us, each in a fresh interpreter, at the same time.

    That takes seconds a host: where parts were asked for, only those.
    """
    there = [extra for extra in _PROBES if installed(extra, findings.extras.get(extra, []))]
    wanted = [extra for extra in there if asked == {CORE} or extra in asked]
    if wanted:
        logger.info("asking %s in interpreters of their own", ", ".join(wanted))
    with ThreadPoolExecutor() as pool:
        answers = dict(zip(wanted, pool.map(_probe, wanted), strict=True))
    for extra in _PROBES:
        unknown = "not asked" if extra in there else "not installed"
        findings.hooks[extra] = answers.get(extra, unknown)
    if switched_off():
        for extra in ("vlmeval", "lmms"):
            if extra in answers:
                findings.hooks[extra] = f"switched off by {VARIABLE}"
                mend = f"unset {VARIABLE}"
                findings.problems.append(Problem(extra, findings.hooks[extra], mend))
        return
    for extra, answer in answers.items():
        if answer != "seen":
            mend = f"pip install --force-reinstall 'spy-bench[{extra}]'"
            findings.problems.append(Problem(extra, answer, mend))
    line = SiteLine.here()
    own = "also in its own run.py" if line.enabled() else "its own run.py: spy-bench plugin enable"
    if findings.hooks["vlmeval"] == "seen":
        findings.hooks["vlmeval"] = f"seen ({own})"


def _probe(extra: str) -> str:
    """``seen``, or why not, as the last line of what went wrong."""
    code = _PROBES[extra] + "import sys\nsys.exit(0 if seen else 'the hook is not seen')"
    try:
        ran = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {PROBE_SECONDS} s"
    if ran.returncode == 0:
        return "seen"
    lines = ran.stderr.strip().splitlines()
    return lines[-1][:300] if lines else f"exit code {ran.returncode}"


def _key_names() -> list[str]:
    """Variables that hold keys or say where to send them; only whether they are set is told."""
    return sorted({*_KEYS, *(model.api.key_variable for model in models() if model.api)})


def _judge_problems() -> list[Problem]:
    from spy_plugin.models.base import ModelSetupError
    from spy_plugin.models.servers import JUDGE, find_server

    try:
        find_server(os.environ.get("JUDGE_MODEL") or "gpt-4o", role=JUDGE)
    except ModelSetupError as error:
        return [Problem("judge", str(error), "export OPENAI_API_KEY=...")]
    return []


def _data(part: str, name: Part, problems: list[Problem], asked: bool) -> str:
    option = " --tune train_data.json" if name == "tune" else ""
    mend = f"spy-bench data prepare{option}"
    if not (folder_of(name) / RECORD).is_file():
        if asked:
            problems.append(Problem(part, f"nothing is prepared in {folder_of(name)}", mend))
        return "not prepared"
    try:
        prepared = read_prepared(name)
    except DataError as error:
        problems.append(Problem(part, str(error), f"{mend} --force"))
        return "broken"
    if prepared is None or not prepared.image_root.is_dir():
        where = prepared.image_root if prepared else folder_of(name)
        problems.append(Problem(part, f"the pictures are gone: {where}", f"{mend} --force"))
        return "pictures are gone"
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
    """Name, memory and driver of each NVIDIA GPU, as the driver's own tool tells them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        ran = subprocess.run([tool, *query], capture_output=True, text=True, timeout=30)
    except subprocess.TimeoutExpired:
        return []
    return [line.strip() for line in ran.stdout.splitlines()] if ran.returncode == 0 else []
