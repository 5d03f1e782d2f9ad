"""Whether prefixes can be shared: by a model, checked once, and in a batch, by its tokens."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from trl_ext.prefix_sharing.errors import SharingUnsupportedError
from trl_ext.prefix_sharing.float32 import in_float32
from trl_ext.prefix_sharing.inner_model import (
    floating_dtype,
    is_flash,
    layer_kinds,
    text_config,
    unwrapped,
    window,
)
from trl_ext.prefix_sharing.log_probs import Attention, pack_for, packed_log_probs, tree_log_probs
from trl_ext.prefix_sharing.plain import plain_log_probs
from trl_ext.prefix_sharing.token_batch import Layout, TokenBatch
from trl_ext.prefix_sharing.vision import VisionCache

logger = logging.getLogger(__name__)

LONGEST_CHECK = 4_200
"""Tokens of the longest sequences that the check makes, to see what windows do."""

ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Log-probability per token that two orders of the same sums may differ by. A wrong tree differs
by 1e-3 and more (measured on models of random weights, with masks and positions made wrong)."""


_TREE_ERRORS = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""Errors of models that do not accept our masks, positions or heads."""


@dataclass
class SharedTokens:
    """Counts of what sharing saved.

    Attributes:
        sequences: Tokens of all sequences.
        computed: Tokens that went through the model.
        batches: All batches.
        plain: Batches that could not be shared.
    """

    sequences: int = 0
    computed: int = 0
    batches: int = 0
    plain: int = 0


class CheckedPrefixTree:
    """A `Layout` that shares prefixes where that is exact, and says where it is not.

    Args:
        attention: As in `tree_log_probs`.
        cache: Features of a frozen vision tower.
    """

    CHECKED_SEQUENCES = 4

    def __init__(self, attention: Attention = "auto", cache: VisionCache | None = None) -> None:
        self.attention: Attention = attention
        self.cache = cache
        self.counted = SharedTokens()
        self._exact: bool | None = None
        self._longest: int | None = None  # of the sequences whose windows were checked
        self._said: set[str] = set()

    def __call__(self, model: nn.Module, batch: TokenBatch) -> Tensor:
        if self._exact is None:
            self.check(model, batch)
        problem = self._problem_of_batch(batch) if self._exact else ""
        self.counted.sequences += sum(map(len, batch.input_ids))
        self.counted.batches += 1
        if self._exact and not problem:
            try:
                packed = pack_for(model, batch, self.attention)
                result = packed_log_probs(model, batch, packed, cache=self.cache)
            except SharingUnsupportedError as error:
                problem = str(error)
            else:
                self.counted.computed += packed.tokens
                return result
        if problem and problem not in self._said:
            self._said.add(problem)
            logger.warning("batches that cannot share prefixes run plain, the first: %s", problem)
        self.counted.plain += 1
        self.counted.computed += sum(map(len, batch.input_ids))
        return plain_log_probs(model, batch)

    def take_counts(self) -> SharedTokens:
        """Return what was counted since the last call."""
        counted, self.counted = self.counted, SharedTokens()
        return counted

    def of_same_kind(self) -> CheckedPrefixTree:
        """Return a layout with the same verdict, for another model of the same class."""
        cache = self.cache and VisionCache(self.cache.directory)
        other = CheckedPrefixTree(self.attention, cache)
        other._exact, other._longest = self._exact, self._longest
        return other

    def check(
        self, model: nn.Module, batch: TokenBatch, device: torch.device | None = None
    ) -> None:
        """Compare both layouts on a few sequences of `batch`, in float32, without gradient.

        A family whose attention is more than the tree mask describes gives other numbers, or an
        error: then every batch is a plain one, and one warning says why. All processes must call
        this together, and decide alike.

        Args:
            model: Not yet placed or wrapped by FSDP or DeepSpeed; or float32, then wrapped or not.
            batch: Its first sequences are compared, made longer than any window of the model.
            device: Where to compute; that of the model by default.
        """
        inner = unwrapped(model)
        device = device or next(inner.parameters()).device
        implementation = text_config(model)._attn_implementation
        problem = refusal(model) or self._difference(inner, batch, device)
        self._exact = _on_every_process(not problem, device)
        if not self._exact:
            text_config(model)._attn_implementation = implementation
            logger.warning(
                "prefixes are not shared: %s; training runs one row per sequence, slower and "
                'equally exact; prefix_sharing="off" silences this',
                problem or "another process found that it cannot",
            )
        elif is_flash(implementation):
            logger.warning(
                "the text layers run with the attention of shared prefixes instead of %s, whose "
                "kernels take no masks of trees; other parts of the model keep it. It is faster "
                'all the same; prefix_sharing="off" keeps %s everywhere',
                *(implementation, implementation),
            )

    def _difference(self, model: nn.Module, batch: TokenBatch, device: torch.device) -> str:
        """Return what is wrong with shared prefixes in this model; empty if nothing is."""
        few = _few(batch, self.CHECKED_SEQUENCES).to(device)
        width = window(model)
        if width is not None:
            few = _longer(few.take([0, len(few) - 1]), min(width, LONGEST_CHECK) + 16)
            self._longest = None if width <= LONGEST_CHECK else width
        modes = [(module, module.training) for module in model.modules()]
        model.eval()  # dropout would differ between any two passes
        name = type(model).__name__
        try:
            with torch.no_grad(), in_float32(model, device):
                plain = plain_log_probs(model, few)
                try:
                    shared = tree_log_probs(model, few, attention="dense")
                except torch.OutOfMemoryError:
                    raise
                except _TREE_ERRORS as error:
                    return f"{name} does not take a packed tree ({error})"
        finally:
            for module, training in modes:
                module.training = training
        lengths = torch.tensor(few.completion_lengths, device=plain.device)
        difference = ((shared - plain).abs() / lengths).max().item()
        allowed = ROUNDING.get(floating_dtype(model), ROUNDING[torch.float32])
        if difference <= allowed:
            return ""
        return (  # NaN is a problem, too
            f"{name} gives other log-probabilities on a packed tree ({difference:.2g} per token; "
            f"rounding explains {allowed:.2g})"
        )

    def _problem_of_batch(self, batch: TokenBatch) -> str:
        longest = max(map(len, batch.input_ids))
        if self._longest is not None and longest > self._longest:
            return (
                f"a sequence of {longest} tokens is longer than the model's window of "
                f"{self._longest}, beyond which the trees were not checked"
            )
        return ""


def refusal(model: nn.Module) -> str:
    """Return why a model's configuration rules out shared prefixes; empty if nothing does.

    These would pass a comparison by accident: caps hardly show on small logits, and two-way
    blocks only where a picture is.
    """
    config, name = text_config(model), type(unwrapped(model)).__name__
    for option, what in (
        ("final_logit_softcapping", "caps its logits"),
        ("attn_logit_softcapping", "caps its attention scores"),
    ):
        if getattr(config, option, None) is not None:
            return f"{name} {what} ({option})"
    if unknown := layer_kinds(model) - {"full_attention", "sliding_attention"}:
        return f"{name} has layers of the kinds {', '.join(sorted(unknown))}"
    if both_ways := getattr(config, "use_bidirectional_attention", None):
        return f"{name} attends in both directions (use_bidirectional_attention={both_ways!r})"
    return ""


def load_layout(prefix_sharing: str, vision_cache: str | None = None) -> Layout:
    """Return the layout for a model: `"off"` never shares prefixes, every other value does.

    A layout that shares prefixes remembers whether the model allows it, so each model has its own.

    Args:
        prefix_sharing: As in `PrefixSharingConfig`.
        vision_cache: Folder for the picture features of a frozen vision tower.
    """
    if prefix_sharing == "off":
        return plain_log_probs
    return CheckedPrefixTree(cache=VisionCache(vision_cache) if vision_cache else None)


def _few(batch: TokenBatch, number: int) -> TokenBatch:
    """Return the first sequences of one picture, or of none where there are no pictures."""
    shown = next((each for each in batch.picture if each >= 0), -1)
    return batch.take([i for i, each in enumerate(batch.picture) if each == shown][:number])


def _longer(batch: TokenBatch, length: int) -> TokenBatch:
    """Lengthen the sequences to at least `length` tokens, by equal words after each prompt."""
    missing = max(0, length - min(batch.prompt_lengths))
    words = batch.input_ids[0][batch.prompt_lengths[0] :]
    words = words.repeat(-(-missing // len(words)))[:missing]

    def lengthened(values: list[Tensor], by: Tensor) -> list[Tensor]:
        pairs = zip(values, batch.prompt_lengths, strict=True)
        return [torch.cat([each[:at], by.to(each), each[at:]]) for each, at in pairs]

    return replace(
        batch,
        input_ids=lengthened(batch.input_ids, words),
        prompt_lengths=[each + missing for each in batch.prompt_lengths],
        token_inputs={
            name: lengthened(values, words * 0) for name, values in batch.token_inputs.items()
        },
    )


def _on_every_process(verdict: bool, device: torch.device) -> bool:
    """Return True if all processes say so: a collective needs all of them in the same layout."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return verdict
    votes = torch.tensor(int(verdict), device=device)
    torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MIN)
    return bool(votes.item())
