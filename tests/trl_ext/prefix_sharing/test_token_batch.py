"""A batch before any layout is applied."""

from __future__ import annotations

import pickle

import pytest

torch = pytest.importorskip("torch")

from trl_ext.prefix_sharing.token_batch import TokenBatch  # noqa: E402


def sequences(**changes) -> TokenBatch:
    parts = {
        "input_ids": [torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 5])],
        "prompt_lengths": [2, 2],
        "picture": [0, -1],
        "vision": [
            {"pixel_values": torch.zeros(4, 3), "image_grid_thw": torch.tensor([[1, 2, 2]])}
        ],
        "token_inputs": {"mm_token_type_ids": [torch.zeros(4).long(), torch.zeros(3).long()]},
    }
    return TokenBatch(**{**parts, **changes})


def test_completion_lengths_are_what_follows_the_prompts():
    assert sequences().completion_lengths == [2, 1]
    assert len(sequences()) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt_lengths": [2]}, "prompt_lengths: 1 for 2 sequences"),
        ({"prompt_lengths": [2, 3]}, "sequence 1 has 3 tokens, 3 of them prompt"),
        ({"prompt_lengths": [0, 2]}, "sequence 0 has 4 tokens, 0 of them prompt"),
        ({"picture": [1, -1]}, "sequence 0 uses picture 1 of 1"),
        ({"token_inputs": {"types": [torch.zeros(4), torch.zeros(4)]}}, "types is not as long"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        sequences(**changes)


def test_a_batch_says_where_its_model_is_and_keeps_its_tensors_on_the_cpu():
    moved = sequences().to("meta")
    assert moved.device.type == "meta"
    assert {each.device.type for each in moved.input_ids} == {"cpu"}
    assert moved.vision[0]["pixel_values"].device.type == "cpu"
    assert moved.take([0]).device.type == "meta"
    assert moved.joined(sequences()).device.type == "meta"


@pytest.mark.parametrize("one_line", [False, True])
def test_all_that_a_model_takes_is_on_its_device(one_line):
    from tests.trl_ext.token_batches import sequences_of, tiny
    from trl_ext.prefix_sharing.packing import pack
    from trl_ext.prefix_sharing.plain import vision_inputs

    model, _ = tiny("qwen2_vl", torch.float32)
    batch = sequences_of("qwen2_vl", torch.float32, [([5, 6], [7, 8]), ([5], [9])], 2).to("meta")
    packed = pack(model, batch, one_line=one_line)
    tensors = [*packed.inputs.values(), packed.depth, packed.subtree_end, packed.places]
    tensors += [packed.labels, packed.owner]
    tensors += vision_inputs(batch.vision, torch.bfloat16, batch.device).values()
    assert {each.device.type for each in tensors} == {"meta"}


def test_accelerate_moves_them_inside_a_batch():
    operations = pytest.importorskip("accelerate.utils.operations")
    batch = {"sequences": sequences(), "completion_tokens": torch.ones(1, 2, 2)}
    moved = operations.send_to_device(batch, torch.device("meta"), non_blocking=True)
    assert moved["sequences"].device.type == "meta"


def test_they_travel_between_processes():
    copy = pickle.loads(pickle.dumps(sequences()))
    assert torch.equal(copy.input_ids[1], sequences().input_ids[1])
