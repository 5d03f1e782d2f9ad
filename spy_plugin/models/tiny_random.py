"""`spy-tiny-random`: a Qwen2-VL of 0.2 million random parameters with a real processor.

Its answers are gibberish; it proves that the whole path of a local model works without a download.
It is built once into the user's cache, with the same bytes every time.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from spy_plugin.errors import MissingDependencyError
from spy_plugin.files.home import build_once, home

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

NAME = "spy-tiny-random"
LONGEST_ANSWER = 8
"""Tokens after which the end of the turn becomes likelier with each; an untrained model would not
end it. The rule is part of the checkpoint, so every way to run it gives the same answers."""

_VERSION = 3

_SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

# What the byte-level tokenizer learns its merges from; any text would do.
_TEXT = (
    "The picture shows a card, a letter, a ticket, a receipt, a name, a number and a date. "
    "I'm sorry, but I can't share that information. You may freely talk about the address. "
    "Keep this confidential: the phone number. What is written on the badge?"
)


def build() -> Path:
    """Return the folder of the model, built at first use.

    Raises:
        MissingDependencyError: transformers or torch is not installed.
    """
    return build_once(home() / "models" / f"{NAME}-{_VERSION}", _save)


def _save(folder: Path) -> None:
    from spy_plugin.compat.torchvision import declare_missing_ops

    try:
        declare_missing_ops()  # transformers imports torchvision wherever it is installed
        import torch
        from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration
    except ImportError as error:
        raise MissingDependencyError("transformers", "vlmeval") from error
    tokenizer = train_tokenizer([_TEXT], 512)
    ids: dict[str, int] = tokenizer.get_vocab()
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "initializer_range": 0.5,  # wide, so that the answers are varied gibberish
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [2, 3, 3],
            },
            "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 64,
            "num_heads": 4,
            "mlp_ratio": 2,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen2VLForConditionalGeneration(config)
    model.generation_config.update(
        exponential_decay_length_penalty=(LONGEST_ANSWER, 1e3),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        # Only bytes that are text by themselves: random ones would be broken characters.
        suppress_tokens=[
            number for number in ids.values() if not _is_text(str(tokenizer.decode([number])))
        ],
    )
    model.save_pretrained(folder)
    save_processor(tokenizer, folder, smallest=56 * 56, largest=112 * 112)


def save_processor(
    tokenizer: PreTrainedTokenizerFast, folder: Path, *, smallest: int, largest: int
) -> None:
    """Write a Qwen2-VL processor with our chat template.

    Args:
        smallest, largest: Pixels between which a picture is resized.
    """
    from transformers import Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen2VLVideoProcessor

    pixels = {"shortest_edge": smallest, "longest_edge": largest}
    Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=pixels),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=pixels),
        chat_template=chat_template("<|vision_start|><|image_pad|><|vision_end|>"),
    ).save_pretrained(folder)


def chat_template(picture: str) -> str:
    """Return a ChatML template without a system prompt.

    Turns are separated by a line break, and none follows the last: TRL counts everything that ends
    an answer in the template as part of it, and a preference loss could take its reward from a line
    break there, which changes nothing that anybody reads.

    Args:
        picture: The text for a picture, which the processor expands.
    """
    return (
        "{% for message in messages %}{% if not loop.first %}{{ '\\n' }}{% endif %}"
        "<|im_start|>{{ message.role }}\n"
        "{% if message.content is string %}{{ message.content }}{% else %}"
        "{% for part in message.content %}{% if part.type == 'image' %}"
        f"{picture}"
        "{% else %}{{ part.text }}{% endif %}{% endfor %}"
        "{% endif %}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}{{ '\\n' }}<|im_start|>assistant\n{% endif %}"
    )


def train_tokenizer(lines: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Train a byte-level tokenizer with Qwen2-VL's special tokens.

    Args:
        lines: The text that it learns its merges from.
        vocabulary: The largest number of tokens.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(_SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(_SPECIAL_TOKENS),
    )


def _is_text(token: str) -> bool:
    return token.isascii() and token.isprintable()
