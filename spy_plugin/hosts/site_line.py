"""The opt-in line in `site-packages` that lets an untouched VLMEvalKit see us; see `pth_hook`."""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass
from pathlib import Path

from spy_plugin.errors import SpyBenchError
from spy_plugin.files.writing import write_atomically

FILE_NAME = "spy_bench_vlmeval.pth"

# Runs at every start of the interpreter, so it only waits for the host; nothing it does may keep
# an interpreter or the host from starting, not even when this package has been removed.
_SOURCE = """
import sys
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "vlmeval" and Finder in sys.meta_path:
            sys.meta_path.remove(Finder)
            try:
                from spy_plugin.hosts.pth_hook import install
                install()
            except Exception:
                pass
sys.meta_path.insert(0, Finder)
"""
# `site` runs line by line what begins with `import`.
CONTENT = (
    "# Written by `spy-bench plugin enable`; `spy-bench plugin disable` removes it.\n"
    f"import sys; exec({_SOURCE!r}, {{}})\n"
)


@dataclass(frozen=True)
class SiteLine:
    """The file in one folder.

    Attributes:
        folder: A folder that Python reads `.pth` files from.
    """

    folder: Path

    @classmethod
    def here(cls) -> SiteLine:
        """That of this interpreter."""
        return cls(Path(sysconfig.get_paths()["purelib"]))

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / FILE_NAME

    def enabled(self) -> bool:
        """Whether it is there."""
        return self.path.is_file()

    def enable(self) -> bool:
        """Write it.

        Returns:
            False if it was there already.

        Raises:
            SpyBenchError: the folder is missing or cannot be written.
        """
        if self.enabled() and self.path.read_text(encoding="utf-8") == CONTENT:
            return False
        if not self.folder.is_dir():
            raise SpyBenchError(f"{self.folder} is no folder. Give one that Python searches.")
        try:
            write_atomically(self.path, CONTENT)
        except OSError as error:
            raise self._cannot("written", error) from error
        return True

    def disable(self) -> bool:
        """Remove it.

        Returns:
            False if it was not there.

        Raises:
            SpyBenchError: it cannot be removed.
        """
        if not self.path.exists():
            return False
        try:
            self.path.unlink()
        except OSError as error:
            raise self._cannot("removed", error) from error
        return True

    def _cannot(self, done: str, error: OSError) -> SpyBenchError:
        return SpyBenchError(
            f"{self.path} cannot be {done} ({error.strerror}). Use a virtual environment of your "
            "own, or `spy-bench run vlmeval`, which needs no such file."
        )
