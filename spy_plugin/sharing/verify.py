"""Check a bundle: recompute what can be recomputed, and say what cannot.

Each check is ok, failed, or could not be made. What a bundle says of itself is compared with the
rest of it, with the benchmark where that is available, and with a judge that can be run again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spy_plugin.benchmark.samples import Benchmark
from spy_plugin.errors import DataError
from spy_plugin.files.text import storable
from spy_plugin.sharing.bundle import open_known
from spy_plugin.sharing.bundle_file import describe_files, read_bundle
from spy_plugin.sharing.checks import run_checks
from spy_plugin.sharing.findings import Finding, Status, some
from spy_plugin.sharing.records import from_files


def verify_bundle(
    path: Path, *, benchmark: Benchmark | None = None, rejudge: bool = False
) -> Iterator[Finding]:
    """Yield what each check finds.

    Args:
        benchmark: What the runs were on; by default what their records name, if it is one of ours.
        rejudge: Also run an offline judge that needs a model of its own again.
    """
    try:
        manifest, files = read_bundle(path)
    except DataError as error:
        yield Finding("", "file", Status.FAILED, str(error))
        return
    described = describe_files(files)
    wrong = sorted(
        name
        for name in {*manifest.files, *described}
        if manifest.files.get(name) != described.get(name)
    )
    detail = f"{len(files)} files have the hashes of the manifest"
    if wrong:
        detail = f"other hash or size than the manifest's, missing, or extra: {some(wrong)}"
    yield Finding("", "hashes", Status.FAILED if wrong else Status.OK, detail)
    folders = sorted({name.rpartition("/")[0] for name in files}, key=lambda f: (len(f), f))
    if not folders:
        yield Finding("", "runs", Status.FAILED, "it holds no run")
    for folder in folders:
        try:
            run = from_files(files, folder, path.name)
        except DataError as error:
            yield Finding(folder, "records", Status.FAILED, str(error))
            continue
        known = benchmark or open_known(run.run.benchmark)
        # On one line: a name must not look like the lines of the checks.
        name = storable(" ".join(f"{run.run.model} on {run.run.dataset}".split()), 200)
        for check, found in run_checks(run, f"{path.name}: {folder}", known, rejudge=rejudge):
            status, detail = found
            yield Finding(name, check, status, detail)
