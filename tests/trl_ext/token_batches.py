"""Token batches about random pictures, and the numbers that a layout makes of them."""

from __future__ import annotations

from functools import lru_cache

import torch

from tests.trl_ext import tiny_models
from trl_ext.prefix_sharing.token_batch import TokenBatch


@lru_cache
def tiny(family, dtype):
    return tiny_models.build(family, dtype)


def _prompt(family, dtype, seed):
    """The processor's output for one picture at the start of a user message."""
    processor = tiny(family, dtype)[1]
    picture = {"type": "image"}
    message = {"role": "user", "content": [picture, {"type": "text", "text": "Look."}]}
    text = processor.apply_chat_template([message], add_generation_prompt=False)
    image = tiny_models.picture(seed, 56 + 28 * (seed % 2), 56)
    encoded = processor(images=[image], text=[text], return_tensors="pt")
    encoded.pop("attention_mask", None)
    per_token = {
        name: encoded.pop(name)[0]
        for name in list(encoded)
        if name == "input_ids" or name.endswith("token_type_ids")
    }
    return per_token, {k: v for k, v in encoded.items() if isinstance(v, torch.Tensor)}


def sequences_of(family, dtype, branches, pictures=1):
    """TokenBatch of `branches` (prompt rest, completion) behind each of some pictures."""
    input_ids, lengths, picture, vision, types = [], [], [], [], {}
    for number in range(pictures):
        per_token, tensors = _prompt(family, dtype, number)
        vision.append(tensors)
        for prompt, completion in branches:
            tail = torch.tensor([*prompt, *completion]) + 20
            input_ids.append(torch.cat([per_token["input_ids"], tail]))
            lengths.append(len(per_token["input_ids"]) + len(prompt))
            picture.append(number)
            for name, values in per_token.items():
                if name != "input_ids":
                    types.setdefault(name, []).append(torch.cat([values, tail * 0]))
    return TokenBatch(input_ids, lengths, picture, vision, types)


def numbers(layout, model, sequences):
    """Log-probabilities, and the gradients of a weighted sum of them."""
    model.zero_grad()
    log_probs = layout(model, sequences)
    (log_probs * torch.linspace(-1, 2, len(log_probs), dtype=log_probs.dtype)).sum().backward()
    gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return log_probs.detach(), torch.cat(gradients).clone()
