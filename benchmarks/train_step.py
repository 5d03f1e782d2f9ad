"""Time a training step of NCA-P: the official trainer's algorithm and every mode of this one.

    python benchmarks/train_step.py --size 7b --out benchmarks/results

One step is forward, loss, backward and reference over the rows of one picture, without the
optimizer. Weights are random, shapes are real. It needs torch and transformers, but not TRL.
See `docs/prefix_tree.md` for the modes and `benchmarks/results/prefix-tree.md` for the results.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import platform
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.modes import Mode, loss_of, modes, official_log_probs
from benchmarks.report import report, save
from benchmarks.workload import SIZES, Case, Work, build_model, build_rows
from trl_ext.prefix_sharing.layers import compile_layers, keep_activations
from trl_ext.prefix_sharing.log_probs import tree_log_probs
from trl_ext.prefix_sharing.plain import plain_log_probs
from trl_ext.prefix_sharing.token_batch import TokenBatch
from trl_ext.prefix_sharing.vision import VisionCache, freeze_vision

logger = logging.getLogger("train_step")


def micro_batches(sequences: TokenBatch, rows: int) -> list[TokenBatch]:
    """Split into parts of `rows` rows, each with only the pictures that it needs."""
    parts = []
    for start in range(0, len(sequences), 4 * rows):
        part = sequences.take(list(range(start, min(start + 4 * rows, len(sequences)))))
        used = sorted(set(part.picture))
        parts.append(
            replace(
                part,
                picture=[used.index(each) for each in part.picture],
                vision=[part.vision[each] for each in used],
            )
        )
    return parts


class Bench:
    """The models and rows that all modes share."""

    def __init__(
        self, size: str, case: Case, device: torch.device, dtype: torch.dtype, liger: bool
    ) -> None:
        self.size, self.case, self.device = SIZES[size], case, device
        torch.manual_seed(0)
        self.model = build_model(self.size, dtype, device)
        if liger:
            from liger_kernel.transformers import apply_liger_kernel_to_qwen2_vl

            apply_liger_kernel_to_qwen2_vl(
                cross_entropy=False, fused_linear_cross_entropy=False, model=self.model
            )
        self.model.train()
        self.exact: Tensor | None = None

    def layout(self, mode: Mode) -> Callable[[Any, TokenBatch], Tensor]:
        if mode.layout == "official":
            return official_log_probs
        if mode.layout == "plain":
            return plain_log_probs
        cache = VisionCache(tempfile.mkdtemp()) if mode.features else None
        return lambda model, rows: tree_log_probs(
            model,
            rows,
            attention=mode.attention,  # type: ignore[arg-type]
            cache=cache,
        )

    def run(self, mode: Mode, repeats: int, profile: Path | None = None) -> dict[str, Any]:
        """Measure one mode: seconds per step, memory, work, and error against single sequences."""
        sequences = build_rows(self.size, self.case, mode.sharing).to(self.device)
        parts = micro_batches(sequences, mode.micro)
        layout = self.layout(mode)
        if mode.compiled:
            compile_layers(self.model)
        reference = build_reference(self.model) if mode.reference else None
        if mode.compiled and reference is not None:
            compile_layers(reference)
        self.model.gradient_checkpointing_enable({"use_reentrant": False})
        if not mode.recompute:
            self.model.gradient_checkpointing_disable()
        keep_activations(self.model, mode.kept)
        self.model.requires_grad_(True)
        if mode.features:
            freeze_vision(self.model)
        found = torch.zeros(0)

        def step() -> None:
            nonlocal found
            self.model.zero_grad(set_to_none=True)
            seen = []
            for part in parts:
                if reference is None:
                    known = torch.zeros(len(part), device=self.device)
                else:
                    with torch.no_grad():
                        known = layout(reference, part)
                log_probs = layout(self.model, part)
                loss_of(log_probs, known).backward()
                seen.append(log_probs.detach())
            found = torch.cat(seen)

        seconds, first = timed(step, repeats, self.device)
        if profile is not None:
            save_profile(step, profile / f"{mode.name.replace(',', '').replace(' ', '-')}.txt")
        result = {
            **asdict(mode),
            "rows_per_second": self.case.rows / statistics.median(seconds),
            "seconds": seconds,
            "first_step_seconds": first,
            "peak_gib": peak_gib(self.device),
            **self.cost(mode, sequences, statistics.median(seconds)),
        }
        if self.exact is None:
            with torch.no_grad():
                one = build_rows(self.size, self.case, "sequence").to(self.device)
                parts_of_one = micro_batches(one, 1)
                self.exact = torch.cat([plain_log_probs(self.model, part) for part in parts_of_one])
        result["largest_difference"] = (found - self.exact).abs().max().item()
        result["mean_difference"] = (found - self.exact).abs().mean().item()
        self.model.zero_grad(set_to_none=True)
        return result

    def cost(self, mode: Mode, sequences: TokenBatch, seconds: float) -> dict[str, Any]:
        if mode.layout == "tree":
            work = Work.of_tree(sequences)
        else:
            work = Work.of_sequences(sequences, all_logits=mode.layout == "official")
        # A backward pass costs two forward passes. Layers that keep activations are not recomputed.
        again = mode.recompute * (1 - mode.kept / self.size.layers)
        passes = 3 + mode.reference + again
        flops = passes * work.forward_flops(self.size, self.case, vision=not mode.features)
        least = 3 * Work.of_tree(build_rows(self.size, self.case, "image")).forward_flops(
            self.size, self.case
        )
        return {
            **asdict(work),
            "flops": flops,
            "flops_per_second": flops / seconds,
            "floor_flops": least,
        }


def build_reference(model: Any) -> Any:
    """A copy of the model as the reference, as in the official trainer."""
    import copy

    reference = copy.deepcopy(model).requires_grad_(False)
    return reference.eval()


def timed(
    step: Callable[[], None], repeats: int, device: torch.device
) -> tuple[list[float], float]:
    """Seconds of each step, and those of a separate first step that warms up.

    On a CPU these are processor seconds of this process over all cores, so that other work on the
    machine does not count; use one thread (`OMP_NUM_THREADS=1`).
    """
    gpu = device.type == "cuda"
    clock = time.perf_counter if gpu else time.process_time

    def once() -> float:
        start = clock()
        step()
        if gpu:
            torch.cuda.synchronize()
        return clock() - start

    first = once()
    if gpu:
        once()
        torch.cuda.reset_peak_memory_stats()
    return [once() for _ in range(repeats)], first


def save_profile(step: Callable[[], None], path: Path) -> None:
    """Write the kernels of one step and their times."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as recorded:
        step()
        torch.cuda.synchronize()
    table = recorded.key_averages().table(
        sort_by="self_cuda_time_total", row_limit=45, max_name_column_width=90
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(table)


def peak_gib(device: torch.device) -> float | None:
    return torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None


def free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Measure the FLOP/s of a large matrix product of random numbers."""
    side = 8_192 if device.type == "cuda" else 2_048
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best, _ = timed(lambda: torch.mm(a, b).sum().item() and None, 10, device)
    return 2 * side**3 / statistics.median(best)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument(
        "--modes",
        default="",
        help="run only modes that match one of these patterns, separated by ;",
    )
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--item-rows", type=int, default=1)
    parser.add_argument("--grid", default="52x96", help="patches of the picture, height x width")
    parser.add_argument(
        "--official-micro", type=int, default=1, help="rows per pass, official mode"
    )
    parser.add_argument("--row-micro", type=int, default=8, help="rows per pass, tree per row")
    parser.add_argument("--liger", action="store_true", help="Liger's norm, MLP and rotary kernels")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", default="")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=None, help="folder for the table and the JSON")
    parser.add_argument("--profile", type=Path, default=None, help="folder for kernel times")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)

    device = torch.device(options.device)
    gpu = device.type == "cuda"
    dtype = getattr(torch, options.dtype or ("bfloat16" if gpu else "float32"))
    height, width = map(int, options.grid.split("x"))
    case = Case((height, width), rows=options.rows, item_rows=options.item_rows)
    import transformers

    machine = {
        "size": options.size,
        "device": torch.cuda.get_device_name() if gpu else platform.processor() or "CPU",
        "threads": torch.get_num_threads(),
        "dtype": str(dtype),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "date": date.today().isoformat(),
        "matrix_peak": matrix_peak(device, dtype),
        "case": asdict(case),
    }
    bench = Bench(options.size, case, device, dtype, options.liger)
    results = []
    for mode in modes(gpu, options.official_micro, options.row_micro):
        if options.modes and not any(
            re.fullmatch(part, mode.name) for part in options.modes.split(";")
        ):
            continue
        try:
            results.append(bench.run(mode, options.repeats, options.profile))
        except (RuntimeError, ValueError, TypeError) as error:  # measure the other modes
            bench.model.zero_grad(set_to_none=True)
            free()
            logger.exception(mode.name)
            results.append({**asdict(mode), "error": str(error).splitlines()[0]})
        free()  # release the reference model of the mode
        logger.info(json.dumps(results[-1]))
        if options.out is not None:
            save(options.out, results, machine)
    logger.info(report(results, machine))


if __name__ == "__main__":
    main()
