"""What may share prefixes: models by name and in float32, batches by their tokens."""

from __future__ import annotations

import logging

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.trl_ext import tiny_models  # noqa: E402
from tests.trl_ext.token_batches import numbers, sequences_of, tiny  # noqa: E402
from trl_ext.prefix_sharing import check, log_probs  # noqa: E402
from trl_ext.prefix_sharing.check import CheckedPrefixTree, refusal  # noqa: E402
from trl_ext.prefix_sharing.float32 import in_float32  # noqa: E402
from trl_ext.prefix_sharing.log_probs import tree_log_probs  # noqa: E402
from trl_ext.prefix_sharing.plain import plain_log_probs  # noqa: E402

BRANCHES = [([0, 1], [2, 2, 0]), ([0, 1], [1]), ([0, 2, 2], [2, 0]), ([], [1, 1])]


def llava_mistral(window, dtype=torch.float64):
    """LLaVA on a Mistral, whose window holds in every layer and is in no `layer_types`."""
    from transformers import LlavaForConditionalGeneration, MistralConfig

    parts, _ = tiny_models.FAMILIES["llava"]()
    kept = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")
    kept += ("num_attention_heads", "num_key_value_heads", "initializer_range")
    parts.text_config = MistralConfig(
        **{name: getattr(parts.text_config, name) for name in kept},
        sliding_window=window,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlavaForConditionalGeneration(parts).to(dtype).eval()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rounding_is_no_reason_to_run_plain(caplog, dtype):
    model, _ = tiny_models.build("qwen2_vl", dtype=dtype)
    sequences = sequences_of("qwen2_vl", torch.float32, BRANCHES)
    layout = CheckedPrefixTree()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layout(model, sequences)
    assert layout.counted.computed < layout.counted.sequences
    assert not caplog.records


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_slightly_wrong_tree_is_not_taken_for_rounding(monkeypatch, caplog, dtype):
    model, _ = tiny_models.build("gemma3", dtype=dtype)
    sequences = sequences_of("gemma3", torch.float32, BRANCHES)
    real = log_probs.tree_mask

    def without_the_picture_block(model, batch):
        batch.inputs["token_type_ids"] = torch.zeros_like(batch.inputs["token_type_ids"])
        return real(model, batch)

    monkeypatch.setattr(log_probs, "tree_mask", without_the_picture_block)
    layout = CheckedPrefixTree()
    with torch.autocast("cpu", dtype=torch.bfloat16), caplog.at_level(logging.WARNING):
        layout(model, sequences)
    assert layout.counted.plain == 1
    assert "other log-probabilities on a packed tree" in caplog.text


def test_a_model_is_float32_inside_and_as_it_was_afterwards():
    model, _ = tiny_models.build("qwen2_vl", dtype=torch.bfloat16)
    exact, _ = tiny_models.build("qwen2_vl", dtype=torch.bfloat16)
    exact = exact.float()
    sequences = sequences_of("qwen2_vl", torch.bfloat16, BRANCHES)
    before = {name: id(value) for name, value in model.named_parameters()}
    with torch.no_grad():
        rounded = plain_log_probs(model, sequences)
        with torch.autocast("cpu", dtype=torch.bfloat16), in_float32(model, torch.device("cpu")):
            found = plain_log_probs(model, sequences)
        expected = plain_log_probs(exact, sequences)
    # What is left is the rounding of the pixels, which both layouts see.
    assert (found - expected).abs().max() < 5e-3
    assert (rounded - expected).abs().max() > 1e-2
    assert {name: id(value) for name, value in model.named_parameters()} == before
    assert model.dtype == torch.bfloat16
    assert torch.equal(plain_log_probs(model, sequences), rounded)


def test_weights_come_back_after_an_error():
    model, _ = tiny_models.build("qwen2_vl", dtype=torch.bfloat16)

    def stop(*_):
        raise RuntimeError("stop")

    model.lm_head.register_forward_pre_hook(stop)

    def run():
        with in_float32(model, torch.device("cpu")):
            model(input_ids=torch.tensor([[1, 2, 3]]))

    with pytest.raises(RuntimeError, match="stop"):
        run()
    assert {each.dtype for each in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("long", [0, 60])
def test_a_window_without_layer_types_holds_along_the_path(long):
    model = llava_mistral(window=24)
    branches = [([0] * long + prompt, completion) for prompt, completion in BRANCHES]
    sequences = sequences_of("llava", torch.float64, branches)
    layout = CheckedPrefixTree()
    found, gradients = numbers(layout, model, sequences)
    plain, expected = numbers(plain_log_probs, model, sequences)
    assert layout.counted.plain == 0
    assert (found - plain).abs().max() < 1e-9
    assert (gradients - expected).norm() <= 2e-7 * expected.norm()


def test_windows_are_checked_on_sequences_that_outgrow_them(monkeypatch, caplog):
    """Short rows pass whatever the window; the check makes them longer."""
    model = llava_mistral(window=64)
    sequences = sequences_of("llava", torch.float64, BRANCHES)
    assert max(map(len, sequences.input_ids)) < 64
    monkeypatch.setattr("trl_ext.prefix_sharing.attention.window", lambda model: None)
    layout = CheckedPrefixTree()
    with caplog.at_level(logging.WARNING):
        layout(model, sequences)
    assert layout.counted.plain == 1
    assert "other log-probabilities" in caplog.text


def test_sequences_beyond_a_window_that_was_not_checked_run_plain(monkeypatch, caplog):
    monkeypatch.setattr(check, "LONGEST_CHECK", 40)
    model = llava_mistral(window=50)
    short = sequences_of("llava", torch.float64, BRANCHES)
    long = sequences_of("llava", torch.float64, [([0] * 60, [1, 2]), ([0] * 60, [2])])
    layout = CheckedPrefixTree()
    with caplog.at_level(logging.WARNING):
        layout(model, short)
        for _ in range(2):
            found = layout(model, long)
    assert layout.take_counts().plain == 2
    assert layout.take_counts().plain == 0
    assert torch.equal(found, plain_log_probs(model, long))
    assert (
        len([r for r in caplog.records if "longer than the model's window of 50" in r.message]) == 1
    )


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("final_logit_softcapping", 30.0, "caps its logits"),
        ("attn_logit_softcapping", 50.0, "caps its attention scores"),
        ("use_bidirectional_attention", "vision", "attends in both directions"),
        ("layer_types", ["linear_attention", "full_attention"], "kinds linear_attention"),
        ("layer_types", ["chunked_attention", "full_attention"], "kinds chunked_attention"),
    ],
)
def test_what_a_comparison_could_miss_is_refused_by_name(option, value, reason):
    model, _ = tiny_models.build("llava")
    assert not refusal(model)
    setattr(model.config.get_text_config(), option, value)
    assert reason in refusal(model)
    assert "LlavaForConditionalGeneration" in refusal(model)


def test_a_refused_model_runs_plain_and_says_so_once(caplog):
    model, _ = tiny_models.build("llava")
    model.config.text_config.final_logit_softcapping = 30.0
    sequences = sequences_of("llava", torch.float32, BRANCHES)
    layout = CheckedPrefixTree()
    with caplog.at_level(logging.WARNING):
        found = [layout(model, sequences) for _ in range(2)][-1]
    assert torch.equal(found, plain_log_probs(model, sequences))
    assert [r.message.split(";")[0] for r in caplog.records] == [
        "prefixes are not shared: LlavaForConditionalGeneration caps its logits "
        "(final_logit_softcapping)"
    ]


def test_another_model_of_the_class_is_not_checked_again(monkeypatch):
    model, _ = tiny("qwen2_vl", torch.float64)
    sequences = sequences_of("qwen2_vl", torch.float64, BRANCHES)
    layout = CheckedPrefixTree()
    expected = layout(model, sequences)
    monkeypatch.setattr(CheckedPrefixTree, "check", None)
    assert torch.equal(layout.of_same_kind()(model, sequences), expected)
    assert torch.equal(expected, tree_log_probs(model, sequences))


@pytest.fixture
def flash():
    """An attention that, like flash-attention's, takes neither float32 nor masks."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    calls = []

    def attend(module, query, key, value, attention_mask, **options):
        if query.dtype not in (torch.bfloat16, torch.float16):
            raise RuntimeError("FlashAttention only support fp16 and bf16 data type")
        calls.append(type(module).__name__)
        return sdpa_attention_forward(module, query, key, value, None, **options)

    AttentionInterface.register("pretended_flash", attend)
    AttentionMaskInterface.register("pretended_flash", lambda *_, **__: None)
    return calls


@pytest.mark.parametrize("exact", [True, False])
def test_flash_attention_is_replaced_in_the_text_layers_alone_and_says_so(
    flash, exact, caplog, monkeypatch
):
    model, _ = tiny_models.build("llava", dtype=torch.bfloat16)
    model.config._attn_implementation = "pretended_flash"
    sequences = sequences_of("llava", torch.bfloat16, BRANCHES)
    if not exact:
        monkeypatch.setattr(check, "refusal", lambda model: "it cannot")
    layout = CheckedPrefixTree()
    with torch.no_grad(), caplog.at_level(logging.WARNING):
        layout.check(model, sequences)
        assert not flash
        assert model.config.text_config._attn_implementation == "pretended_flash"
        layout(model, sequences)
    parts = {name.partition("Attention")[0] for name in flash}
    assert parts == ({"CLIP"} if exact else {"CLIP", "Llama"})
    assert model.config.vision_config._attn_implementation == "pretended_flash"
    [record] = caplog.records
    assert ("instead of pretended_flash" in record.message) == exact
    assert ("are not shared" in record.message) != exact
