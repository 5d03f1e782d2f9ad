"""Runs a module under FSDP on CPUs, which accelerate otherwise replaces by DDP without a word.

accelerate launch --config_file FSDP_FILE -m tests.trl_ext.sharded_on_cpu MODULE ARGUMENTS
"""

from __future__ import annotations

import os
import runpy
import sys

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType


def main() -> None:
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    torch.distributed.init_process_group("gloo")
    # FSDP is only chosen for what looks like a run on GPUs.
    PartialState._prepare_backend = lambda *_, **__: ("gloo", DistributedType.MULTI_GPU)
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
