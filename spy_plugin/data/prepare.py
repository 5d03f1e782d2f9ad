"""Turn a copy or a download of the official release into checked data at a known place.

Everything is made in a folder of its own, which is put in place in one step, so a broken run leaves
what was there before. The user's own files are read, never changed.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from spy_plugin import __version__
from spy_plugin.benchmark.loading import load_release, read_label_words
from spy_plugin.benchmark.protocol import CONFIG_FILE
from spy_plugin.data.archive_checks import check_archive
from spy_plugin.data.picture_roots import find_root, move_below
from spy_plugin.data.pictures import hash_pictures
from spy_plugin.data.prepared import (
    HASHES,
    RECORD,
    Hashes,
    Part,
    Prepared,
    PreparedRecord,
    blob_id,
    blob_ids,
    fingerprint_of,
    folder_of,
    mismatches,
    read_prepared,
)
from spy_plugin.errors import DataError, SpyBenchError
from spy_plugin.files.archives import extract
from spy_plugin.files.download import download, is_url
from spy_plugin.files.home import expand, home
from spy_plugin.files.writing import FileLock, replace_folder, write_atomically
from spy_plugin.registry.catalog import releases

logger = logging.getLogger(__name__)

PICTURES = "pictures"
TRAIN_FILE = "train/data/train_data.json"
_LABELS = "benchmark/data/label2text.json"


@dataclass(frozen=True)
class Sources:
    """Where the data come from; each is a folder, an archive or a URL.

    Attributes:
        release: None for the registered revision's archive.
        images: None for pictures beside the release, else the registered archive.
        tune: None to prepare the benchmark; the training file to prepare SPY-Tune.
    """

    release: str | None = None
    images: str | None = None
    tune: str | None = None


def prepare(sources: Sources, *, allow_unpinned: bool = False, force: bool = False) -> Prepared:
    """Verify, check and keep the official data, or SPY-Tune.

    Args:
        allow_unpinned: Take a revision whose blob ids are not the registered ones; it is marked.
        force: Replace what was prepared before.

    Raises:
        DataError: a file or a picture is wrong, missing or not the registered one.
        SpyBenchError: it was prepared before, or there is no room.
    """
    part: Part = "official" if sources.tune is None else "tune"
    folder = folder_of(part)
    if folder.exists() and not force:
        raise SpyBenchError(f"{folder} exists already. Pass --force to replace it.")
    _refuse_missing(sources)
    work = _Work(sources, part, allow_unpinned)
    with _staging(part) as staging:
        work.run(staging)
        replace_folder(folder, staging / "made", staging / "old")
    for archive in work.downloaded:
        archive.unlink()
    prepared = read_prepared(part)
    if prepared is None:
        raise SpyBenchError(f"{folder} was removed meanwhile. Run the command again.")
    return prepared


def _refuse_missing(sources: Sources) -> None:
    """Look for the user's own files before anything is downloaded.

    Raises:
        DataError: one does not exist, or is neither a file nor a folder.
    """
    for source in (sources.release, sources.images, sources.tune):
        if not source or is_url(source):
            continue
        path = expand(source)
        if not (path.is_dir() or path.is_file()):
            raise DataError(
                "no such file or folder",
                "Give a folder, an archive or an http(s) URL.",
                path=source,
            )


class _Work:
    """One preparation, step by step, in a staging folder."""

    def __init__(self, sources: Sources, part: Part, allow_unpinned: bool) -> None:
        self.sources, self.part, self.allow_unpinned = sources, part, allow_unpinned
        self.downloaded: list[Path] = []
        self.archives: dict[str, str] = {}
        self.registered = releases()[0]

    def run(self, staging: Path) -> None:
        """Fill ``staging/made`` with the checked data and the record of them."""
        made = staging / "made"
        release = self._open_release(staging / "release")
        blobs, revision = self._verify(release)
        optional = [n for n in self.registered.tune_files if (release / n).is_file()]
        for name in [*blobs, *optional]:
            _copy(release / name, made / name)
        unverified: tuple[str, ...] = ()
        if self.part == "tune":
            _copy(self._tune_file(staging), made / TRAIN_FILE)
            blobs[TRAIN_FILE] = blob_id(made / TRAIN_FILE)
            unverified = (TRAIN_FILE,)
        image_paths = self._image_paths(made)
        root = self._open_images(staging, release, image_paths[0])
        hashes = Hashes(files=blobs, images=hash_pictures(root, image_paths))
        owned = root.is_relative_to(made)
        record = PreparedRecord(
            part=self.part,
            pinned=bool(revision),
            revision=revision,
            source=_full(self.sources.release or self.registered.archive),
            image_root=PICTURES if owned else str(root.resolve()),
            fingerprint=fingerprint_of(blobs),
            unverified=unverified,
            archives=self.archives,
            images=len(hashes.images),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            spy_bench_version=__version__,
        )
        write_atomically(made / HASHES, hashes.model_dump_json(indent=0))
        write_atomically(made / RECORD, record.model_dump_json(indent=1) + "\n")

    def _open_release(self, target: Path) -> Path:
        source = self.sources.release
        known = read_prepared("official") if source is None and self.part == "tune" else None
        if known is not None:
            return known.release
        folder = self._open(source or self.registered.archive, target)
        inside = sorted(folder.iterdir()) if folder == target else []
        for root in [folder, *inside]:
            if (root / CONFIG_FILE).is_file():
                return root
        raise DataError(
            f"does not contain {CONFIG_FILE.as_posix()}",
            "Give the root of a clone or an archive of the official release.",
            path=source,
        )

    def _open(self, source: str, target: Path) -> Path:
        """Return a source as a folder: the source itself, or `target` with an archive's content."""
        path = expand(source)
        if is_url(source):
            path = download(source, home() / "downloads")
            self.downloaded.append(path)
        elif path.is_dir():
            return path
        try:
            self._check_archive(path, _full(source))
            logger.info("unpacking %s", path)
            extract(path, target)
        except DataError:
            if path in self.downloaded:
                path.unlink()  # it will stay broken: the next run must fetch it again
            raise
        return target

    def _check_archive(self, path: Path, source: str) -> None:
        """Check an archive against the registry and the last preparation; note its SHA-256.

        Raises:
            DataError: it is another one, and only the registered revision is accepted.
        """
        by_url = {archive.url: archive for archive in self.registered.downloads.values()}
        known, earlier = by_url.get(source), self._earlier_archives()
        if self.allow_unpinned:
            known, earlier = None, {}
        self.archives[source] = check_archive(path, source, known, earlier)

    def _earlier_archives(self) -> dict[str, str]:
        try:
            before = read_prepared(self.part)
        except DataError:  # a broken record, which --force replaces
            return {}
        return before.record.archives if before else {}

    def _verify(self, release: Path) -> tuple[dict[str, str], str]:
        """Return the files' blob ids and the name of the registered revision, empty for another."""
        blobs = blob_ids(release, self.registered.files)
        wrong = mismatches(self.registered.files, blobs)
        if self.part == "tune":
            known = {n: b for n, b in self.registered.tune_files.items() if (release / n).is_file()}
            wrong += mismatches(known, blob_ids(release, known))
        if not wrong:
            return blobs, self.registered.name
        problem = (
            f"is not revision {self.registered.commit[:12]} of the official release. "
            "Git blob ids that differ:\n  " + "\n  ".join(wrong) + "\n"
        )
        if not self.allow_unpinned:
            raise DataError(
                problem.rstrip(),
                "Check out that revision, or pass --allow-unpinned, which every report will say.",
                path=release,
            )
        logger.warning("%s: %s", release, problem.rstrip())
        return blobs, ""

    def _tune_file(self, staging: Path) -> Path:
        """Return the training file, which is given itself, in a folder, in an archive or by URL."""
        source = self.sources.tune or ""
        page = self.registered.downloads["tune_data"].url
        if not source or source == page:
            raise SpyBenchError(
                "the training file of SPY-Tune cannot be downloaded here, because its page needs a "
                f"browser. Save {page} as train_data.json, then run: "
                "spy-bench data prepare --tune train_data.json"
            )
        path = expand(source)
        if is_url(source) and source.split("?")[0].endswith(".json"):
            path = download(source, home() / "downloads")
            self.downloaded.append(path)
        if path.is_file() and path.suffix == ".json":
            return path
        folder = self._open(source, staging / "tune")
        for name in (TRAIN_FILE, Path(TRAIN_FILE).name):
            if (folder / name).is_file():
                return folder / name
        raise DataError("does not contain train_data.json", "Give the file itself.", path=source)

    def _image_paths(self, made: Path) -> list[str]:
        """Return the pictures that the data name; reading the data checks every item."""
        if self.part == "official":
            return [item.image_path for item in load_release(made).items]
        from spy_plugin.benchmark.spy_tune import read_tune_items

        words = read_label_words(made / _LABELS)
        return [tune.item.image_path for tune in read_tune_items(made / TRAIN_FILE, words)]

    def _open_images(self, staging: Path, release: Path, probe: str) -> Path:
        """Return the root of the image paths; it lies below ``made`` if it was unpacked."""
        source, root = self.sources.images, staging / "made" / PICTURES
        if source is None:
            if release.is_relative_to(staging):
                if move_below(release, probe, root):
                    return root
            elif found := find_root(release, probe):
                return found
            kind = "benchmark_images" if self.part == "official" else "tune_images"
            source = self.registered.downloads[kind].url
            logger.info("no pictures beside the release; downloading %s", source)
        unpacked = self._open(source, staging / "images")
        if unpacked != staging / "images":
            if found := find_root(unpacked, probe):
                return found
        elif move_below(unpacked, probe, root):
            return root
        raise DataError(
            f"does not contain {probe}",
            f"Give a folder whose path ends in {Path(probe).parent}, or the archive of the "
            "pictures.",
            path=source,
        )


def _full(source: str) -> str:
    return source if is_url(source) else str(expand(source).absolute())


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


@contextmanager
def _staging(part: Part) -> Iterator[Path]:
    """Yield a folder on the same disk as `home`; it is removed at the end, or by the next run."""
    home().mkdir(parents=True, exist_ok=True)
    folder = home() / f".{part}.new.tmp"
    with FileLock(folder_of(part)):
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
