"""`spy-bench doctor`: what is installed, what is wrong, and the command that fixes it."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from spy_plugin.errors import SpyBenchError

if TYPE_CHECKING:
    from spy_plugin.cli.diagnosis import Findings
    from spy_plugin.registry.packages import Package


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--for",
        dest="asked",
        default="",
        metavar="PARTS",
        help="exit with 1 unless these parts work, for example vlmeval,train,data",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="import the hosts instead of scoring one sample through each",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the findings.

    Returns:
        1 if the core, or a part that was asked for, is broken.
    """
    from spy_plugin.cli.diagnosis import examine, parts
    from spy_plugin.registry.packages import CORE

    asked = {part.strip() for part in args.asked.split(",") if part.strip()}
    unknown = sorted(asked - set(parts()))
    if unknown:
        raise SpyBenchError(f"unknown part {unknown[0]!r}. Use some of: {', '.join(parts())}.")
    findings = examine(asked, quick=args.quick)
    if args.json:
        print(json.dumps(asdict(findings), ensure_ascii=False))
    else:
        print(render(findings))
    return int(any(problem.part in asked | {CORE} for problem in findings.problems))


def render(findings: Findings) -> str:
    """Format the findings as one screen of text."""
    system = findings.system
    memory = _gigabytes(system["memory_bytes"]) if system["memory_bytes"] else "unknown"
    lines = [
        f"spy-bench {system['spy_bench']}, Python {system['python']} ({system['executable']})",
        f"{system['platform']}, {system['cpus']} CPUs, {memory} memory",
        f"GPU: {'; '.join(system['gpus']) or 'none'}",
        "",
    ]
    lines += _extras(findings.extras)
    lines += ["", *(f"{name}: {result}" for name, result in findings.hosts.items())]
    lines.append(f"VLMEvalKit's own run.py with us: {findings.plugin} (spy-bench plugin)")
    lines += [f"ray: {findings.ray}"] if findings.ray else []
    keys = ", ".join(
        f"{name} {'set' if there else 'not set'}" for name, there in findings.keys.items()
    )
    lines += ["", f"keys: {keys}"]
    lines += [f"{part}: {status}" for part, status in findings.data.items()]
    cache = findings.cache
    lines.append(
        f"cache: {_gigabytes(cache['bytes'])} in {cache['path']}, "
        f"{_gigabytes(cache['free_bytes'])} free"
    )
    lines += ["", "no problems" if not findings.problems else "problems:"]
    for problem in findings.problems:
        lines += [f"  {problem.part}: {problem.problem}", f"    fix: {problem.fix}"]
    return "\n".join(lines)


def _extras(extras: dict[str, list[Package]]) -> list[str]:
    """List the packages of the core and of every extra that is there, and name the others."""
    from spy_plugin.registry.packages import CORE, DEVELOPERS, installed

    there = [name for name, packages in extras.items() if name == CORE or installed(name, packages)]
    absent = [name for name in extras if name not in (*there, *DEVELOPERS)]
    lines = [f"{name:<14} {_packages(extras[name])}" for name in there]
    if there == [CORE]:
        lines.append("core only: no extra is installed")
    if absent:
        lines.append(f"not installed: {', '.join(absent)} (pip install 'spy-bench[NAME]')")
    return lines


def _packages(packages: list[Package]) -> str:
    """List ``name version``; a version that the tests do not run with is marked."""
    return ", ".join(
        f"{package.name} {package.version}".rstrip()
        + ("" if package.state == "tested" else f" ({package.state})")
        for package in packages
    )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
