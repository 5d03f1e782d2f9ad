"""Build from an empty folder: a wheel must not hold what an earlier build left in `build/`.

Everything else about the package is in setup.cfg.
"""

from __future__ import annotations

import tempfile

from setuptools import setup
from setuptools.command.build import build


class BuildAfresh(build):
    """setuptools packs all of `build/lib`, so modules that have moved since would come back."""

    def initialize_options(self) -> None:
        """Take a temporary folder, which goes away with the process, in place of `build/`."""
        super().initialize_options()
        self._folder = tempfile.TemporaryDirectory(prefix="spy-bench-build-")
        self.build_base = self._folder.name


setup(cmdclass={"build": BuildAfresh})
