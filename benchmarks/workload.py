"""The workload of `train_step.py`: models of real shapes with random weights, rows, their cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trl_ext.prefix_sharing.token_batch import TokenBatch
from trl_ext.prefix_sharing.tree import build_tree

PATCHES_PER_TOKEN = 4  # 2 x 2 patches of 14 x 14 pixels make one token
PATCH_SIZE = 3 * 2 * 14 * 14  # numbers in a patch: channels, frames, height, width


@dataclass(frozen=True)
class Size:
    """Widths and depths of a Qwen2-VL's text and vision layers."""

    width: int
    layers: int
    heads: int
    key_value_heads: int
    mlp: int
    vision_width: int
    vision_layers: int
    vision_heads: int
    vocabulary: int = 152_064
    tied: bool = False

    @property
    def image_token(self) -> int:
        return self.vocabulary - 1


SIZES = {
    "tiny": Size(64, 2, 4, 2, 160, 32, 2, 2, vocabulary=2_048, tied=True),
    "small": Size(512, 8, 8, 2, 1_408, 160, 4, 4, vocabulary=8_192, tied=True),
    "2b": Size(1_536, 28, 12, 2, 8_960, 1_280, 32, 16, vocabulary=151_936, tied=True),
    "7b": Size(3_584, 28, 28, 4, 18_944, 1_280, 32, 16),
}


@dataclass(frozen=True)
class Case:
    """Token counts of the rows of one picture. Each row has two prompts with two answers each.

    A prompt consists of `head` tokens, the picture, and the remaining `prompt` tokens. The two
    prompts of a row share the first `shared` of those: the instruction lines up to the one that
    differs. By default, the worst case, rows of one picture share the head and the picture only.
    With `item_rows` above 1, that many neighbouring rows belong to one item and differ only in the
    question (`question` tokens), as in SPY-Tune.
    """

    grid: tuple[int, int] = (52, 96)  # patches; 1,248 tokens, 728 x 1,344 pixels
    head: int = 20
    prompt: int = 150
    shared: int = 36
    question: int = 58
    answer: int = 24
    rows: int = 8
    item_rows: int = 1

    @property
    def image(self) -> int:
        return self.grid[0] * self.grid[1] // PATCHES_PER_TOKEN


def build_model(size: Size, dtype: torch.dtype, device: torch.device) -> Any:
    """Build a Qwen2-VL with random weights on `device`."""
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    section = size.width // size.heads // 2
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": size.vocabulary,
            "hidden_size": size.width,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.key_value_heads,
            "intermediate_size": size.mlp,
            "tie_word_embeddings": size.tied,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [section - 2 * (section * 3 // 8), *[section * 3 // 8] * 2],
            },
        },
        vision_config={
            "depth": size.vision_layers,
            "embed_dim": size.vision_width,
            "hidden_size": size.width,
            "num_heads": size.vision_heads,
        },
        image_token_id=size.image_token,
        video_token_id=size.vocabulary - 2,
        vision_start_token_id=size.vocabulary - 3,
        vision_end_token_id=size.vocabulary - 4,
        tie_word_embeddings=size.tied,
    )
    previous = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return Qwen2VLForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(previous)


def build_rows(size: Size, case: Case, sharing: str, seed: int = 0) -> TokenBatch:
    """Build the four sequences of every row of one picture, on the CPU.

    Args:
        size: Tokens are drawn from its vocabulary.
        case: Token counts.
        sharing: What shares one copy of the picture: `"image"` all rows, `"row"` the sequences of
            a row, `"sequence"` nothing, as in the official trainer.
        seed: Seed of tokens and pixels.
    """
    draw = torch.Generator().manual_seed(seed)

    def words(count: int) -> Tensor:
        return torch.randint(0, size.vocabulary - 9, (count,), generator=draw)

    picture = {
        "pixel_values": torch.randn(case.grid[0] * case.grid[1], PATCH_SIZE, generator=draw),
        "image_grid_thw": torch.tensor([[1, *case.grid]]),
    }
    start = torch.cat([words(case.head), torch.full((case.image,), size.image_token)])
    differing = case.prompt - case.head - case.shared - case.question
    sequences, prompt_lengths, group = [], [], []
    for row in range(case.rows):
        if row % case.item_rows == 0:
            shared, sides = words(case.shared), [words(differing), words(differing)]
        question = words(case.question)
        for side in sides:
            prompt = torch.cat([start, shared, side, question])
            for _ in range(2):
                group.append({"image": 0, "row": row, "sequence": len(sequences)}[sharing])
                sequences.append(torch.cat([prompt, words(case.answer)]))
                prompt_lengths.append(len(prompt))
    return TokenBatch(
        sequences,
        prompt_lengths,
        group,
        [picture] * (group[-1] + 1),
        {"mm_token_type_ids": [(ids == size.image_token).long() for ids in sequences]},
    )


@dataclass(frozen=True)
class Work:
    """The work of one pass over the rows.

    Attributes:
        columns: Tokens that pass through the language model.
        pairs: Pairs of columns of which one attends to the other.
        pictures: Pictures that are encoded.
        logits: Hidden states that are turned into logits.
    """

    columns: int
    pairs: int
    pictures: int
    logits: int

    @classmethod
    def of_tree(cls, sequences: TokenBatch) -> Work:
        columns = pairs = 0
        for picture in set(sequences.picture):
            own = [i for i, each in enumerate(sequences.picture) if each == picture]
            tree = build_tree([sequences.input_ids[i][:-1].cpu() for i in own])
            columns += len(tree)
            pairs += int((tree.depth + 1).sum())
        return cls(columns, pairs, len(sequences.vision), sum(sequences.completion_lengths))

    @classmethod
    def of_sequences(cls, sequences: TokenBatch, all_logits: bool) -> Work:
        lengths = [len(ids) for ids in sequences.input_ids]
        places = sum(lengths) if all_logits else sum(sequences.completion_lengths)
        pairs = sum(length * (length + 1) // 2 for length in lengths)
        return cls(sum(lengths), pairs, len(lengths), places)

    def forward_flops(self, size: Size, case: Case, vision: bool = True) -> float:
        """Floating-point operations of a forward pass; a multiply-add counts as two.

        A matrix of n weights costs 2n per token, attention 4 x head width x heads per pair.
        Without `vision` the picture features are cached.
        """
        head_width = size.width // size.heads
        attention_weights = 2 * size.width**2 + 2 * size.width * head_width * size.key_value_heads
        text_weights = size.layers * (attention_weights + 3 * size.width * size.mlp)
        flops = 2.0 * self.columns * text_weights + 4.0 * self.pairs * size.width * size.layers
        flops += 2.0 * self.logits * size.width * size.vocabulary
        if vision:
            patches, wide = case.grid[0] * case.grid[1], size.vision_width
            block = 12 * wide**2 * size.vision_layers + PATCH_SIZE * wide
            merger = (PATCHES_PER_TOKEN * wide) * (PATCHES_PER_TOKEN * wide + size.width)
            flops += self.pictures * (
                2.0 * patches * (block + merger / PATCHES_PER_TOKEN)
                + 4.0 * patches**2 * wide * size.vision_layers
            )
        return flops
