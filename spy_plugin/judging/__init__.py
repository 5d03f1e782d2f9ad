"""Verdicts: questions with answers go to a judge, and each comes back as respond or reject.

A judge is a model with a prompt and a parser (`ModelJudge`), or rules. `build_judge` makes one from
its name, `judge_answers` lets it judge a file of answers, `load_verdicts` reads what came of it. It
may import `generation` and what that may import.
"""

from spy_plugin.judging.base import Judge, Judgement, Question
from spy_plugin.judging.build import build_judge, default_cache, with_cache
from spy_plugin.judging.calibration import calibration_score
from spy_plugin.judging.host import HostModel
from spy_plugin.judging.judge_answers import JudgeSummary, judge_answers
from spy_plugin.judging.model_judge import ModelJudge
from spy_plugin.judging.verdict_file import load_verdicts

__all__ = [
    "HostModel",
    "Judge",
    "JudgeSummary",
    "Judgement",
    "ModelJudge",
    "Question",
    "build_judge",
    "calibration_score",
    "default_cache",
    "judge_answers",
    "load_verdicts",
    "with_cache",
]
