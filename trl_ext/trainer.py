"""`NCAPrivTrainer`: the NCA-P loss over both sides of an instruction."""

from __future__ import annotations

import textwrap

from trl_ext.config import NCAPrivConfig
from trl_ext.loss import PAIRED
from trl_ext.prefix_trainer import PrefixDPOTrainer


class NCAPrivTrainer(PrefixDPOTrainer):
    """
    Trainer for NCA-P, the noise contrastive alignment of the paper [Specify Privacy
    Yourself](https://openreview.net/forum?id=FIsUuW7zPq): each row holds one question about one
    picture under two instructions, one that calls something private and one that does not, with
    a chosen and a rejected answer to each.

    It takes the arguments of [`~trl.DPOTrainer`] and does with them what that trainer does, with
    these differences:

    - Rows have `images` (none, one or several), `prompt_0`, `prompt_1`, `chosen_0`, `chosen_1`,
      `rejected_0` and `rejected_1`, in TRL's conversational format.
      [`load_spy_tune`] makes them.
    - `precompute_ref_log_probs` works with pictures. Its cache on disk is that of the dataset.
    - `compute_metrics` receives, a row, the four implicit rewards as `predictions` (in the order
      chosen_0, rejected_0, chosen_1, rejected_1) and 1 for a chosen, 0 for a rejected answer as
      `label_ids`.
    - The metrics are those of DPO for each side (`rewards/chosen_0`, `logps/rejected_1`, ...),
      `rewards/accuracies` and `rewards/margins` over both sides, and `rewards/ics`: the share
      of rows where both sides reward the chosen answer more.

    Example:

    ```python
    >>> from trl_ext import NCAPrivTrainer, load_spy_tune

    >>> trainer = NCAPrivTrainer(
    ...     model="Qwen/Qwen2-VL-2B-Instruct",
    ...     train_dataset=load_spy_tune("mini", kind="paired"),
    ... )
    >>> trainer.train()
    ```
    """

    _sides = PAIRED
    _config_class = NCAPrivConfig

    _tag_names = ["trl", "nca-priv", "spy-bench"]  # noqa: RUF012 (as TRL declares it)
    _name = "NCA-P"
    _paper = {  # noqa: RUF012
        "title": "Specify Privacy Yourself: Assessing Inference-Time Personalized Privacy "
        "Preservation Ability of Large Vision-Language Models",
        "citation": textwrap.dedent("""\
            @inproceedings{wang2025specify,
                title     = {{Specify Privacy Yourself: Assessing Inference-Time Personalized Privacy Preservation Ability of Large Vision-Language Models}},
                author    = {Xingqi Wang and Xiaoyuan Yi and Xing Xie and Jia Jia},
                year      = 2025,
                booktitle = {Proceedings of the 33rd ACM International Conference on Multimedia},
            }"""),  # noqa: E501
    }
