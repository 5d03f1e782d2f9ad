"""TRL's `SFTTrainer`, able to resume vision-language models."""

from __future__ import annotations

from trl.trainer.sft_trainer import SFTTrainer

from trl_ext.checkpoints import WholeCheckpoints


class ResumableSFTTrainer(WholeCheckpoints, SFTTrainer):
    """[`~trl.SFTTrainer`] that finds its checkpoints' weights under the names of the Hub."""
