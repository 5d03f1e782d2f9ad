"""Packed prefix trees give the numbers of separate sequences."""

from __future__ import annotations

import logging

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from tests.trl_ext import tiny_models  # noqa: E402
from tests.trl_ext.token_batches import numbers, sequences_of, tiny  # noqa: E402
from trl_ext.prefix_sharing import log_probs  # noqa: E402
from trl_ext.prefix_sharing.attention import (  # noqa: E402
    BLOCK,
    block_mask,
    choose_attention,
    dense_mask,
)
from trl_ext.prefix_sharing.check import CheckedPrefixTree  # noqa: E402
from trl_ext.prefix_sharing.log_probs import chunked_log_probs, tree_log_probs  # noqa: E402
from trl_ext.prefix_sharing.packing import pack  # noqa: E402
from trl_ext.prefix_sharing.plain import plain_log_probs  # noqa: E402
from trl_ext.prefix_sharing.tree import build_tree  # noqa: E402

# Few tokens, so that prefixes and whole sequences often coincide.
tries = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=8)

SHARING_FAMILIES = sorted(tiny_models.FAMILIES)
"""Every family: none of the tiny ones falls back to the plain batch."""


branches = st.lists(
    st.tuples(
        st.lists(st.integers(0, 2), max_size=5), st.lists(st.integers(0, 2), min_size=1, max_size=5)
    ),
    min_size=1,
    max_size=6,
)


@given(tries)
def test_every_distinct_prefix_stands_once_and_every_path_spells_its_sequence(sequences):
    tree = build_tree(sequences)
    prefixes = {tuple(each[: end + 1]) for each in sequences for end in range(len(each))}
    assert len(tree) == len(prefixes)
    tokens = [sequences[own][at] for own, at in zip(tree.sequence, tree.depth, strict=True)]
    for sequence, path in zip(sequences, tree.paths, strict=True):
        assert tree.depth[path].tolist() == list(range(len(sequence)))
        assert [tokens[column] for column in path] == sequence


@given(tries)
def test_a_column_sees_exactly_its_own_path(sequences):
    tree = build_tree(sequences)
    mask = dense_mask(tree.subtree_end[None])[0, 0]
    for path in tree.paths:
        for place, column in enumerate(path):
            assert mask[column].nonzero().flatten().tolist() == path[: place + 1].tolist()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 260), st.integers(1, 200), st.integers(0, 3)),
        min_size=1,
        max_size=8,
    )
)
def test_block_masks_cover_what_is_seen_and_call_full_only_what_is(branches):
    trunk = [7] * 260
    tree = build_tree([trunk[:shared] + [last] * own for shared, own, last in branches])
    width = len(tree) + -len(tree) % BLOCK
    end = torch.cat([tree.subtree_end, torch.arange(len(tree) + 1, width + 1)])[None]
    seen = dense_mask(end)[0, 0].view(width // BLOCK, BLOCK, width // BLOCK, BLOCK)
    mask = block_mask(end)

    def listed(number, indices):
        table = torch.zeros(width // BLOCK, width // BLOCK, dtype=torch.bool)
        for row, count in enumerate(number[0, 0].tolist()):
            table[row, indices[0, 0, row, :count].long()] = True
        return table

    partial = listed(mask.kv_num_blocks, mask.kv_indices)
    full = listed(mask.full_kv_num_blocks, mask.full_kv_indices)
    assert torch.equal(partial | full, seen.any(3).any(1))
    assert torch.equal(full, seen.all(3).all(1))
    assert not (partial & full).any()


def test_flex_attention_with_the_block_mask_equals_the_dense_mask():
    from torch.nn.attention.flex_attention import flex_attention

    tree = build_tree([[1] * 150 + [2] * 90, [1] * 150 + [3] * 70, [1] * 40 + [4] * 100])
    width = len(tree) + -len(tree) % BLOCK
    end = torch.cat([tree.subtree_end, torch.arange(len(tree) + 1, width + 1)])[None]
    query, key, value = torch.randn(3, 1, 2, width, 16).unbind()
    by_blocks = flex_attention(query, key, value, block_mask=block_mask(end))
    dense = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=dense_mask(end)
    )
    assert (by_blocks - dense).abs().max() < 1e-5


@pytest.mark.parametrize("family", SHARING_FAMILIES)
def test_log_probs_and_gradients_of_random_tries_equal_the_separate_sequences(family):
    model, _ = tiny(family, torch.float64)

    @settings(max_examples=8, deadline=None, derandomize=True)
    @given(branches, st.integers(1, 2))
    def check(chosen, pictures):
        sequences = sequences_of(family, torch.float64, chosen, pictures)
        packed, gradients = numbers(tree_log_probs, model, sequences)
        plain, expected = numbers(plain_log_probs, model, sequences)
        assert (packed - plain).abs().max() < 1e-9
        # the norms of the families round to float32 for any weights
        allowed = 1e-6 if family == "gemma3" else 2e-7
        assert (gradients - expected).norm() <= allowed * expected.norm()

    check()


def test_gradients_are_those_of_float64_where_the_norm_does_not_round(monkeypatch):
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLRMSNorm

    def in_float64(self, states):
        return torch.nn.functional.rms_norm(
            states, states.shape[-1:], self.weight, self.variance_epsilon
        )

    monkeypatch.setattr(Qwen2VLRMSNorm, "forward", in_float64)
    model, _ = tiny("qwen2_vl", torch.float64)
    rows = [([0, 1], [2, 2, 0]), ([0, 1], [1]), ([0, 2, 2], [2, 0]), ([], [1, 1])]
    sequences = sequences_of("qwen2_vl", torch.float64, rows, pictures=2)
    packed, gradients = numbers(tree_log_probs, model, sequences)
    plain, expected = numbers(plain_log_probs, model, sequences)
    assert (packed - plain).abs().max() < 1e-12
    assert (gradients - expected).norm() <= 1e-8 * expected.norm()


@pytest.mark.parametrize("family", SHARING_FAMILIES)
def test_float32_log_probs_are_within_a_ten_thousandth(family):
    model, _ = tiny(family, torch.float32)
    rows = [([0, 1], [2, 2, 0]), ([0, 1], [1]), ([0, 2, 2], [2, 0]), ([], [1, 1])]
    sequences = sequences_of(family, torch.float32, rows, pictures=2)
    with torch.no_grad():
        difference = tree_log_probs(model, sequences) - plain_log_probs(model, sequences)
    assert difference.abs().max() < 1e-4


def test_pictures_are_encoded_once_and_logits_made_only_where_a_token_is_predicted(monkeypatch):
    model, _ = tiny("qwen2_vl", torch.float32)
    sequences = sequences_of("qwen2_vl", torch.float32, [([0], [1, 2]), ([1], [1]), ([2], [2])], 2)
    patches, places = [], []
    monkeypatch.setattr(
        model.model.visual,
        "forward",
        lambda pixels, *args, real=model.model.visual.forward, **kwargs: (
            patches.append(len(pixels)) or real(pixels, *args, **kwargs)
        ),
    )
    monkeypatch.setattr(
        model.lm_head,
        "forward",
        lambda states, real=model.lm_head.forward: places.append(len(states)) or real(states),
    )
    tree_log_probs(model, sequences, chunk=3)
    assert patches == [sum(len(each["pixel_values"]) for each in sequences.vision)]
    assert places == [3, 3, 2]  # 2 pictures x (2 + 1 + 1) completion tokens, three at a time


def test_one_line_for_all_trees_gives_the_numbers_of_one_line_each():
    model, _ = tiny("qwen2_vl", torch.float64)
    sequences = sequences_of("qwen2_vl", torch.float64, [([0], [1, 2]), ([1], [1])], pictures=2)
    lines = pack(model, sequences)
    line = pack(model, sequences, one_line=True, multiple=16)
    assert lines.inputs["input_ids"].shape[0] == 2
    assert line.inputs["input_ids"].shape[0] == 1
    assert line.inputs["input_ids"].shape[1] % 16 == 0
    assert lines.tokens == line.tokens
    found = []
    for batch in (lines, line):
        columns = batch.places
        found.append(
            (
                batch.inputs["input_ids"].flatten()[columns].tolist(),
                batch.inputs["position_ids"].flatten(1)[:, columns].tolist(),
                batch.labels.tolist(),
                batch.owner.tolist(),
            )
        )
    assert found[0] == found[1]


def test_prompts_that_diverge_before_the_picture_get_a_tree_each():
    model, _ = tiny("qwen2_vl", torch.float64)
    branches = [([0], [1]), ([0], [2, 1]), ([1], [2])]
    sequences = sequences_of("qwen2_vl", torch.float64, branches, pictures=2)
    for index in (1, 2):
        other = sequences.input_ids[index].clone()
        other[0] = 30
        sequences.input_ids[index] = other
    packed = pack(model, sequences)
    assert packed.pictures == [0, 0, 1]
    found, gradients = numbers(tree_log_probs, model, sequences)
    plain, expected = numbers(plain_log_probs, model, sequences)
    assert (found - plain).abs().max() < 1e-9
    assert (gradients - expected).norm() <= 2e-7 * expected.norm()


@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_chunks_change_neither_log_probs_nor_gradients(chunk):
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 50, bias=False).double()
    states = torch.randn(11, 8, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 50, (11,))
    weights = torch.randn(11, dtype=torch.float64)

    def gradients(log_probs):
        return torch.autograd.grad((log_probs * weights).sum(), [states, head.weight])

    whole = head(states).log_softmax(-1).gather(1, labels[:, None])[:, 0]
    chunked = chunked_log_probs(head, states, labels, chunk)
    assert torch.allclose(chunked, whole, atol=1e-12)
    for found, expected in zip(gradients(chunked), gradients(whole), strict=True):
        assert torch.allclose(found, expected, atol=1e-12)


def test_gradient_checkpointing_changes_nothing():
    model, _ = tiny_models.build("qwen2_vl", torch.float64)
    sequences = sequences_of("qwen2_vl", torch.float64, [([0], [1, 2]), ([1], [1])])
    model.train()
    expected = numbers(tree_log_probs, model, sequences)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    found = numbers(tree_log_probs, model, sequences)
    assert torch.equal(found[0], expected[0])
    assert (found[1] - expected[1]).norm() <= 1e-12 * expected[1].norm()


def test_the_model_is_left_as_it_was_but_for_its_attention():
    model, _ = tiny_models.build("qwen2_vl")
    sequences = sequences_of("qwen2_vl", torch.float32, [([0], [1, 2]), ([1], [1])])
    before = plain_log_probs(model, sequences)
    tree_log_probs(model, sequences)
    assert "forward" not in vars(model.lm_head)
    after = plain_log_probs(model, sequences)
    assert torch.allclose(before, after, atol=1e-5)


def test_a_family_that_packs_wrongly_gets_plain_batches_and_one_warning(monkeypatch, caplog):
    model, _ = tiny_models.build("gemma3", torch.float64)
    sequences = sequences_of("gemma3", torch.float64, [([0], [1, 2]), ([1], [1])])
    real = log_probs.tree_mask

    def without_the_picture_block(model, batch):
        batch.inputs["token_type_ids"] = torch.zeros_like(batch.inputs["token_type_ids"])
        return real(model, batch)

    monkeypatch.setattr(log_probs, "tree_mask", without_the_picture_block)
    layout = CheckedPrefixTree()
    expected = plain_log_probs(model, sequences)
    with caplog.at_level(logging.WARNING, logger="trl_ext.prefix_sharing.check"):
        found = layout(model, sequences)
        layout(model, sequences)
    assert torch.allclose(found, expected, atol=1e-12)
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "prefixes are not shared"
    ]


def test_the_check_keeps_training_modes_and_shares_prefixes_where_it_may(caplog):
    model, _ = tiny_models.build("qwen2_vl")
    sequences = sequences_of("qwen2_vl", torch.float32, [([0], [1, 2]), ([1], [1])])
    model.train()
    model.model.visual.eval()
    CheckedPrefixTree()(model, sequences)
    assert model.training
    assert not model.model.visual.training
    assert model.config.get_text_config()._attn_implementation == "prefix_tree"
    assert not caplog.records


def test_attention_on_a_cpu_is_dense():
    assert choose_attention(tiny("qwen2_vl", torch.float32)[0]) == "dense"


def test_taking_sequences_keeps_their_pictures():
    sequences = sequences_of("qwen2_vl", torch.float32, [([0], [1]), ([1], [2])], pictures=2)
    few = sequences.take([3, 0])
    assert few.picture == [1, 0]
    assert torch.equal(few.input_ids[0], sequences.input_ids[3])
    assert len(few.vision) == 2
