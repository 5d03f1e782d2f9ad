"""Settings chosen for the GPU found: what fits, what keeps small updates, what the user wants."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("trl")

from spy_plugin.errors import SpyBenchError
from tests.conftest import ROOT
from trl_ext.scripts import _device
from trl_ext.scripts._device import Machine, Network, bytes_per_parameter, choose

GIB = 2**30
SEVEN = Network(8_291_375_616, 6_525_288_448, 2_523_136, 28 * 3584, "qwen2_vl")
TWO = Network(2_208_985_600, 1_310_000_000, 1_153_000, 28 * 1536, "qwen2_vl")


def asked(**options: Any) -> Namespace:
    nothing: dict[str, Any] = dict.fromkeys(_device.CHOSEN)
    given = {
        "model_name_or_path": "m",
        "model_revision": None,
        "trust_remote_code": False,
        "use_cpu": False,
        "use_peft": False,
        "load_in_4bit": False,
        "load_in_8bit": False,
        "fp16": False,
        "prefix_sharing": "image",
    }
    return Namespace(**{**nothing, **given, **options})


def machine(gib: float | None = 139.8, processes: int = 1, sharding: str = "") -> Machine:
    memory = None if gib is None else int(gib * GIB)
    return Machine(
        "cpu" if gib is None else "cuda", memory, gib is not None, 16, processes, sharding
    )


@pytest.fixture(autouse=True)
def seven_billion(monkeypatch: Any) -> None:
    monkeypatch.setattr(_device, "network", lambda *name: SEVEN)
    monkeypatch.setattr(_device, "find_spec", lambda name: object())  # torchao


def test_a_large_gpu_trains_bfloat16_weights_that_are_rounded_stochastically():
    chosen = choose(asked(), machine())
    assert (chosen["dtype"], chosen["bf16"]) == ("bfloat16", True)
    assert chosen["optim"] == "adamw_torch_8bit"
    assert chosen["optim_args"] == "bf16_stochastic_round=True"
    assert chosen["gradient_checkpointing"] is False
    assert chosen["max_batch_tokens"] == pytest.approx(3_800, rel=0.05)
    assert chosen["dataloader_num_workers"] == 8
    assert chosen["ddp_find_unused_parameters"] is False


def test_batches_get_smaller_then_activations_are_recomputed_as_memory_shrinks():
    by_size = {gib: choose(asked(), machine(gib)) for gib in (139.8, 100, 80)}
    tokens = [each["max_batch_tokens"] for each in by_size.values()]
    assert tokens[0] > tokens[1] > 2_500
    assert [each["gradient_checkpointing"] for each in by_size.values()] == [False, False, True]


def test_adapters_fit_where_whole_models_do_not():
    with pytest.raises(SpyBenchError, match=r"take 47 GiB, and this GPU has 40.*lora_24gb"):
        choose(asked(), machine(40))
    for gib in (24, 40):
        chosen = choose(asked(use_peft=True, dtype="bfloat16"), machine(gib))
        assert chosen["optim"] == "adamw_torch_fused"
        assert chosen["gradient_checkpointing"] is True
        assert chosen["max_batch_tokens"] >= 2_048


def test_without_torchao_weights_are_float32_if_they_fit(monkeypatch: Any):
    monkeypatch.setattr(_device, "find_spec", lambda name: None)
    with pytest.raises(SpyBenchError, match="Install torchao"):
        choose(asked(), machine())
    monkeypatch.setattr(_device, "network", lambda *name: TWO)
    chosen = choose(asked(), machine())
    assert (chosen["dtype"], chosen["optim"]) == ("float32", "adamw_torch_fused")


def test_sharded_optimizers_keep_float32_copies_themselves():
    for sharding in ("zero2", "zero3", "fsdp"):
        chosen = choose(asked(), machine(processes=8, sharding=sharding))
        assert (chosen["dtype"], chosen["optim"]) == ("bfloat16", "adamw_torch_fused")
        assert "optim_args" in chosen
        assert chosen["optim_args"] is None


def test_what_the_user_set_is_kept_and_followed():
    chosen = choose(asked(gradient_checkpointing=True, dataloader_num_workers=3), machine(60))
    assert not {"gradient_checkpointing", "dataloader_num_workers"} & set(chosen)
    assert "max_batch_tokens" not in choose(asked(max_batch_tokens=900), machine())
    assert choose(asked(prefix_sharing="row"), machine())["max_batch_tokens"] is None
    chosen = choose(asked(dtype="bfloat16"), machine())
    assert chosen["optim"] == "adamw_torch_8bit"


@pytest.mark.parametrize("options", [{"optim": "adamw_torch"}, {"optim": "adafactor"}])
def test_an_optimizer_that_rounds_updates_away_is_warned_about(options: Any, caplog: Any):
    choose(asked(dtype="bfloat16", **options), machine())
    assert "rounds small updates away" in caplog.text


def test_a_machine_without_a_gpu_says_what_it_set(caplog: Any):
    chosen = choose(asked(), machine(None))
    assert (chosen["bf16"], chosen["dtype"]) == (False, "float32")
    assert chosen["dataloader_num_workers"] == 0
    assert chosen["dataloader_pin_memory"] is False
    assert "no GPU was found" in caplog.text
    caplog.clear()
    choose(asked(use_cpu=True), machine(None))
    assert not caplog.text
    choose(asked(use_cpu=True), machine(None, processes=2, sharding="fsdp"))
    assert "each process holds the whole model" in caplog.text


@pytest.mark.parametrize(
    ("processes", "sharding", "dtype", "expected"),
    [
        (1, "", "bfloat16", 6.1),
        (2, "", "bfloat16", 8.1),
        (1, "", "float32", 18),
        (2, "zero2", "bfloat16", 11),
        (8, "zero3", "bfloat16", 2.25),
        (1, "fsdp", "bfloat16", 16),
        (2, "fsdp", "bfloat16", 8),
        (8, "fsdp", "bfloat16", 3.5),
    ],
)
def test_memory_per_weight(processes: int, sharding: str, dtype: str, expected: float):
    of_machine = machine(processes=processes, sharding=sharding)
    assert bytes_per_parameter(asked(), of_machine, dtype) == pytest.approx(expected)


def test_gradients_under_fsdp2_are_whole_in_bfloat16_until_the_last_batch_of_a_step():
    """What the estimate rests on, with accelerate's dtypes and what its `no_sync` sets."""
    import torch
    from accelerate import FullyShardedDataParallelPlugin
    from torch import distributed
    from torch.distributed.fsdp import fully_shard

    plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    plugin.set_mixed_precision("bf16")
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        mesh = distributed.init_device_mesh("cpu", (1,))
        net: Any = torch.nn.Linear(64, 64, bias=False)
        fully_shard(net, mesh=mesh, mp_policy=plugin.mixed_precision_policy)
        (held,) = net._get_fsdp_state()._fsdp_param_group.fsdp_params
        found = []
        for last in (False, False, True):
            net.set_requires_gradient_sync(last)
            net(torch.ones(2, 64)).sum().backward()
            whole = held.unsharded_accumulated_grad
            whole = held._unsharded_param.grad if whole is None else whole
            found.append([None if g is None else g.dtype for g in (whole, net.weight.grad)])
        assert found == [[torch.bfloat16, None]] * 2 + [[None, torch.float32]]
        assert net.weight.dtype is torch.float32
    finally:
        distributed.destroy_process_group()


GPUS = {24: 22.5, 40: 39.4, 48: 44.4, 80: 79.1, 141: 139.8}
"""Memory as sold in GB -> as found in GiB."""


def stated() -> list[list[str]]:
    """The cells of the table in the documentation, one list per row."""
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    table = page.partition("| model | GPU memory |")[2].partition("\n\n")[0]
    lines = table.splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("row", stated(), ids=lambda row: " ".join(row[:2]))
def test_the_table_of_the_documentation_is_what_is_chosen(row: list[str], monkeypatch: Any):
    model, memory, weights, recomputed, tokens = row
    monkeypatch.setattr(_device, "network", lambda *_: SEVEN if "7B" in model else TWO)
    lora = {"use_peft": True, "dtype": "bfloat16"} if "LoRA" in model else {}
    for size in memory.removesuffix(" GB").split(", "):
        options, gpu = asked(**lora), machine(GPUS[int(size)])
        if "refused" in weights:
            with pytest.raises(SpyBenchError, match="adapters"):
                choose(options, gpu)
            continue
        chosen = vars(options) | choose(options, gpu)
        assert weights == f"{chosen['dtype']}, `{chosen['optim']}`"
        assert chosen["gradient_checkpointing"] is (recomputed == "yes")
        assert chosen["max_batch_tokens"] == int(tokens.replace(",", ""))


def test_the_documentation_states_settings():
    assert len(stated()) == 10
