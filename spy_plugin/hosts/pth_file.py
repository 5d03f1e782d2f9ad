"""The opt-in file in `site-packages` that lets an untouched VLMEvalKit see SPY-Bench."""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass
from pathlib import Path

from spy_plugin.errors import SpyBenchError
from spy_plugin.files.writing import write_atomically

FILE_NAME = "spy_bench_vlmeval.pth"

# Runs at every start of the interpreter, so it only waits for the host. Nothing in it may keep an
# interpreter or the host from starting, not even after this package has been removed.
_SOURCE = """
import sys
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "vlmeval" and Finder in sys.meta_path:
            sys.meta_path.remove(Finder)
            try:
                from spy_plugin.hosts.vlmeval.registration import register_on_import
                register_on_import()
            except Exception as error:
                if getattr(error, "name", "") != "spy_plugin":
                    print("spy-bench: not added to VLMEvalKit:", repr(error), file=sys.stderr)
sys.meta_path.insert(0, Finder)
"""
# `site` executes those lines of a `.pth` file that begin with `import`.
CONTENT = (
    "# Written by `spy-bench plugin enable`; `spy-bench plugin disable` removes it.\n"
    f"import sys; exec({_SOURCE!r}, {{}})\n"
)


@dataclass(frozen=True)
class PthFile:
    """The file in one folder.

    Attributes:
        folder: A folder that Python reads `.pth` files from.
    """

    folder: Path

    @classmethod
    def here(cls) -> PthFile:
        """Return the file of this interpreter."""
        return cls(Path(sysconfig.get_paths()["purelib"]))

    @property
    def path(self) -> Path:
        """The file itself."""
        return self.folder / FILE_NAME

    def enabled(self) -> bool:
        """Return whether the file exists."""
        return self.path.is_file()

    def enable(self) -> bool:
        """Write the file.

        Returns:
            False if it existed already with this content.

        Raises:
            SpyBenchError: the folder is missing or not writable.
        """
        if self.enabled() and self.path.read_text(encoding="utf-8") == CONTENT:
            return False
        if not self.folder.is_dir():
            raise SpyBenchError(
                f"{self.folder} is not a folder. Name a folder that Python reads .pth files from."
            )
        try:
            write_atomically(self.path, CONTENT)
        except OSError as error:
            raise self._failure("written", error) from error
        return True

    def disable(self) -> bool:
        """Remove the file.

        Returns:
            False if it did not exist.

        Raises:
            SpyBenchError: it cannot be removed.
        """
        if not self.path.exists():
            return False
        try:
            self.path.unlink()
        except OSError as error:
            raise self._failure("removed", error) from error
        return True

    def _failure(self, action: str, error: OSError) -> SpyBenchError:
        return SpyBenchError(
            f"{self.path} cannot be {action} ({error.strerror}). Use a virtual environment of your "
            "own, or `spy-bench run vlmeval`, which needs no such file."
        )
