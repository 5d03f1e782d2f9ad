"""Stochastic rounding keeps small updates, in torchao's arithmetic, alike on every process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")
optim = pytest.importorskip("torchao.optim")

from spy_plugin.compat.torchvision import declare_missing_ops  # noqa: E402

declare_missing_ops()

from trl_ext.rounding import SameRounding, code_table, flattened, nearest_codes  # noqa: E402

SHAPES = ((64, 256), (128,), (96, 128), (300,), (3, 2, 14, 14, 64))


@pytest.fixture(autouse=True)
def eager():
    """torchao compiles its update, which takes a minute on a CPU."""
    torch.compiler.set_stance("force_eager")
    yield
    torch.compiler.set_stance("default")


def trained(kind: Any, dtype: Any, steps: int = 4, **options: Any) -> tuple[list[Any], Any]:
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(shape).to(dtype)) for shape in SHAPES]
    optimizer = kind(weights, lr=1e-2, weight_decay=0.05, **options)
    for step in range(steps):
        torch.manual_seed(step)
        for weight in weights:
            weight.grad = torch.randn(weight.shape).to(dtype)
        for group in optimizer.param_groups:
            group["lr"].fill_(1e-2 / (1 + step))
        optimizer.step()
    return weights, optimizer


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_steps_are_those_of_torchao(dtype):
    ours, mine = trained(flattened(optim.AdamW8bit), dtype)
    theirs, its = trained(optim.AdamW8bit, dtype)
    assert isinstance(mine, optim.AdamW8bit)
    for our, their in zip(ours, theirs, strict=True):
        # A number between two of the 256 codes may fall to either: few weights differ, a little.
        tolerance = {"rtol": 1e-2 if dtype == torch.bfloat16 else 1e-5, "atol": 1e-5}
        assert torch.isclose(our, their, **tolerance).float().mean() > 0.999
        assert (our - their).abs().max() < 0.01
        for name in ("exp_avg", "exp_avg_sq"):
            found, expected = mine.state[our][name], its.state[their][name]
            assert type(found) is type(expected)
            if hasattr(found, "codes"):
                assert (found.codes.int() - expected.codes.int()).abs().max() <= 1


@pytest.mark.parametrize("signed", [True, False])
def test_tabulated_codes_are_those_of_torchao(signed):
    """At each limit, a float below and above it, at each value, and between them at all sizes."""
    quantization = pytest.importorskip("torchao.optim.quant_utils")
    table = code_table(signed, torch.device("cpu"))
    limits, values = table.limits[:-1], torch.tensor(quantization.create_dynamic_map(signed))
    below, above = (torch.nextafter(limits, torch.tensor(end)) for end in (-2.0, 2.0))
    numbers = torch.cat((limits, below.clamp(min=-1), above.clamp(max=1), values))
    torch.manual_seed(0)
    even, small = torch.rand(2, 100_000)
    numbers = torch.cat((numbers, even, even * 10 ** (-9 * small), torch.tensor([1e-45])))
    numbers = torch.cat((numbers, -numbers)) if signed else numbers
    expected = quantization.quantize_8bit_with_qmap(numbers, values)
    assert torch.equal(nearest_codes(numbers, table), expected)
    assert expected.unique().numel() == 256


def moved_by(updates: int, rounded: bool, rate: float = 1e-5) -> Any:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(256, 256).bfloat16())
    before = weight.detach().float().clone()
    optimizer = flattened(optim.AdamW8bit)(
        [weight], lr=rate, weight_decay=0, bf16_stochastic_round=rounded
    )
    for _ in range(updates):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    return (weight.float() - before).detach()


def test_updates_below_a_unit_in_the_last_place_add_up():
    """Each is 1e-5, where neighbours of 1 are 4e-3 and 8e-3 apart."""
    assert moved_by(20, True).mean() == pytest.approx(-20e-5, rel=0.15)
    assert moved_by(20, False).mean() > -10e-5


def test_a_resumed_optimizer_steps_as_the_first_would(tmp_path):
    weights, optimizer = trained(flattened(optim.AdamW8bit), torch.float32)
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    copies = [torch.nn.Parameter(weight.detach().clone()) for weight in weights]
    again = flattened(optim.AdamW8bit)(copies, lr=1e-2, weight_decay=0.05)
    again.load_state_dict(torch.load(tmp_path / "optimizer.pt", weights_only=True))
    for weight, copy in zip(weights, copies, strict=True):
        weight.grad = torch.ones_like(weight)
        copy.grad = torch.ones_like(copy)
    optimizer.step()
    again.step()
    assert all(torch.equal(one, other) for one, other in zip(weights, copies, strict=True))


def test_rounding_depends_on_seed_and_step_alone():
    """Not on what a process drew before; and what it draws after is as if there were no step."""

    def drawn(seed: int, step: int, before: int) -> tuple[Any, Any]:
        torch.manual_seed(7)
        torch.rand(before)
        callback, args = SameRounding(), SimpleNamespace(device="cpu", seed=seed)
        state = SimpleNamespace(global_step=step)
        following = torch.get_rng_state()
        callback.on_pre_optimizer_step(args, state, None)
        inside = torch.rand(4)
        callback.on_optimizer_step(args, state, None)
        assert torch.equal(torch.get_rng_state(), following)
        return inside

    assert torch.equal(drawn(1, 5, 0), drawn(1, 5, 100))
    assert not torch.equal(drawn(1, 5, 0), drawn(1, 6, 0))
    assert not torch.equal(drawn(1, 5, 0), drawn(2, 5, 0))


def test_another_optimizer_is_left_as_it_is():
    assert flattened(torch.optim.AdamW) is torch.optim.AdamW
