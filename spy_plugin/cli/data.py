"""`spy-bench data`: prepare, check, show and export the official data."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from spy_plugin.cli.option_types import any_path
from spy_plugin.errors import SpyBenchError
from spy_plugin.files.home import home

if TYPE_CHECKING:
    from spy_plugin.data.prepared import Part

FORMATS = ("vlmeval-tsv", "parquet", "hf-dataset", "jsonl", "official")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    prepare = actions.add_parser("prepare", help="fetch and check the benchmark, or SPY-Tune")
    prepare.add_argument(
        "--release", metavar="SOURCE", help="folder, archive or URL (default: the registered one)"
    )
    prepare.add_argument(
        "--images", metavar="SOURCE", help="folder, archive or URL (default: beside the release)"
    )
    prepare.add_argument(
        "--tune", nargs="?", const="", metavar="FILE", help="prepare SPY-Tune with train_data.json"
    )
    prepare.add_argument(
        "--allow-unpinned",
        action="store_true",
        help="accept another revision; reports say so",
    )
    prepare.add_argument("--force", action="store_true", help="replace what was prepared before")
    for name, text in (
        ("verify", "check the files, and with --pictures every picture, against their checksums"),
        ("status", "show what is prepared, and from where"),
        ("path", "print the folder of the data"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("--tune", action="store_true", help="SPY-Tune instead of the benchmark")
        if name == "verify":
            action.add_argument("--pictures", action="store_true", help="read every picture again")
        if name == "status":
            action.add_argument("--json", action="store_true", help="as one JSON object")
        if name == "path":
            action.add_argument("--images", action="store_true", help="the pictures' root instead")
    export = actions.add_parser("export", help="write the samples in another format")
    export.add_argument("--format", required=True, choices=FORMATS)
    export.add_argument(
        "--out", required=True, type=any_path, metavar="PATH", help="file or folder"
    )
    export.add_argument(
        "--benchmark",
        metavar="NAME|DIR",
        default="official",
        help="official (the default), mini, lab, or the folder of one's own benchmark",
    )
    export.add_argument("--no-distractors", action="store_true")


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    actions = {
        "prepare": _prepare,
        "verify": _verify,
        "status": _status,
        "path": _path,
        "export": _export,
    }
    return actions[args.action](args)


def _part(args: argparse.Namespace) -> Part:
    return "tune" if args.tune else "official"


def _prepare(args: argparse.Namespace) -> int:
    from spy_plugin.data.prepare import Sources, prepare

    sources = Sources(args.release, args.images, args.tune)
    prepared = prepare(sources, allow_unpinned=args.allow_unpinned, force=args.force)
    print(_describe(prepared.record.part))
    return 0


def _verify(args: argparse.Namespace) -> int:
    from spy_plugin.data.verify import verify

    problems = verify(_part(args), pictures=args.pictures)
    if problems:
        for problem in problems:
            print(problem)
        raise SpyBenchError(
            f"{len(problems)} problem(s). Prepare the data again: spy-bench data prepare --force"
        )
    if args.pictures:
        print("every file and picture is as it was prepared")
    else:
        print(
            "every file is as it was prepared, and every picture is there (--pictures reads them)"
        )
    return 0


def _status(args: argparse.Namespace) -> int:
    parts: list[Part] = ["tune"] if args.tune else ["official", "tune"]
    if args.json:
        print(json.dumps({part: facts(part) for part in parts}))
    else:
        print("\n".join(_describe(part) for part in parts))
    return 0


def _path(args: argparse.Namespace) -> int:
    from spy_plugin.data.prepared import read_prepared

    prepared = read_prepared(_part(args))
    if prepared is None:
        raise SpyBenchError(_missing(_part(args)))
    print(prepared.image_root if args.images else prepared.release)
    return 0


def _export(args: argparse.Namespace) -> int:
    from spy_plugin.benchmarks import open_named
    from spy_plugin.data.export import export

    benchmark = open_named(args.benchmark)
    count = export(benchmark, args.format, args.out, distractors=not args.no_distractors)
    print(f"{count:,} samples -> {args.out}")
    return 0


def facts(part: Part) -> dict[str, Any] | None:
    """Return what is prepared as plain JSON, or None."""
    from spy_plugin.data.prepared import read_prepared

    prepared = read_prepared(part)
    if prepared is None:
        return None
    shown = prepared.record.model_dump(exclude={"schema_version", "part"})
    return shown | {"release": str(prepared.release), "image_root": str(prepared.image_root)}


def _missing(part: Part) -> str:
    option = " --tune train_data.json" if part == "tune" else ""
    return f"{part}: not prepared in {home()}. Run: spy-bench data prepare{option}"


def _describe(part: Part) -> str:
    known = facts(part)
    if known is None:
        return _missing(part)
    revision = (
        f"the official revision {known['revision']}"
        if known["pinned"]
        else "NOT the official revision (unpinned)"
    )
    lines = [
        f"{part}: {revision}, fingerprint {known['fingerprint']}",
        f"  files     {known['release']}",
        f"  pictures  {known['images']:,} below {known['image_root']}",
        f"  from      {known['source']}, {known['created']}",
    ]
    lines += [f"  archive   {name}, SHA-256 {sha}" for name, sha in known["archives"].items()]
    if known["unverified"]:
        lines.append(f"  not verified, since no blob id is known: {', '.join(known['unverified'])}")
    return "\n".join(lines)
