"""Training rows about random pictures, and their log-probabilities computed naively."""

from __future__ import annotations

from typing import Any

import torch

from tests.trl_ext.tiny_models import picture

ANSWER = "It is a person with a red car, whose name is on the shirt."
REFUSAL = "I cannot share that."


def user(text: str, images: int = 1) -> list[dict[str, Any]]:
    content = [{"type": "image"}] * images + [{"type": "text", "text": text}]
    return [{"role": "user", "content": content}]


def assistant(text: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": [{"type": "text", "text": text}]}]


def paired_rows(count: int = 4, images: int = 1) -> list[dict[str, Any]]:
    """Make NCA-P rows of different lengths; every two rows share a picture."""
    return [
        {
            "images": [picture(10 * (row // 2) + i, 56 + 24 * (row // 2)) for i in range(images)],
            "prompt_0": user(
                f"Do not call the face private.\n\nWho is it{' there' * row}?", images
            ),
            "prompt_1": user(f"Call the face private.\n\nWho is it{' there' * row}?", images),
            "chosen_0": assistant(ANSWER),
            "rejected_0": assistant(REFUSAL),
            "chosen_1": assistant(REFUSAL),
            "rejected_1": assistant(f"{ANSWER} Certainly." if row % 2 else ANSWER),
            "label": "a_face",
            "item_id": f"item-{row}",
            "image_id": f"image-{row // 2}",
        }
        for row in range(count)
    ]


def without_pictures(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows without the column `images`."""
    return [{name: value for name, value in row.items() if name != "images"} for row in rows]


def naive_log_prob(model: Any, processor: Any, row: dict[str, Any], side: int, choice: str) -> Any:
    """log p(answer | prompt, pictures) of one sequence, alone in its batch, from the full logits.

    The whole conversation goes through the processor at once, as at inference; the answer begins
    where the prompt with its generation header ends.
    """
    prompt = row[f"prompt_{side}"]
    texts = [
        processor.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True),
        processor.apply_chat_template(prompt + row[f"{choice}_{side}"], tokenize=False),
    ]
    images = [row["images"]] if row.get("images") else None
    encoded = [
        processor(text=[text], images=images, add_special_tokens=False, return_tensors="pt")
        for text in texts
    ]
    start = encoded[0]["input_ids"].shape[1]
    ids = encoded[1]["input_ids"][0]
    assert torch.equal(ids[:start], encoded[0]["input_ids"][0])
    inputs = {
        name: value.to(model.dtype) if value.is_floating_point() else value
        for name, value in encoded[1].items()
    }
    log_probs = model(**inputs).logits[0].log_softmax(-1)
    return torch.stack([log_probs[i - 1, ids[i]] for i in range(start, len(ids))]).sum()


def naive_table(model: Any, processor: Any, rows: list[dict[str, Any]]) -> torch.Tensor:
    """`naive_log_prob` of every completion, `(rows, 2, 2)`: side, then (chosen, rejected)."""
    return torch.stack(
        [
            torch.stack(
                [
                    torch.stack(
                        [
                            naive_log_prob(model, processor, row, side, choice)
                            for choice in ("chosen", "rejected")
                        ]
                    )
                    for side in (0, 1)
                ]
            )
            for row in rows
        ]
    )


def naive_loss(policy: torch.Tensor, reference: torch.Tensor, beta: float) -> torch.Tensor:
    """Mean NCA-P loss of rows, written term by term from the formula."""
    losses = []
    for pi, ref in zip(policy, reference, strict=True):
        terms = []
        for side in (0, 1):
            r_chosen = beta * (pi[side, 0] - ref[side, 0])
            r_rejected = beta * (pi[side, 1] - ref[side, 1])
            terms.append(
                -torch.log(torch.sigmoid(r_chosen))
                - 0.5 * torch.log(torch.sigmoid(-r_chosen))
                - 0.5 * torch.log(torch.sigmoid(-r_rejected))
            )
        losses.append(sum(terms))
    return torch.stack(losses).mean()
