"""Verdicts: questions with answers go to a judge, and each comes back as respond or reject.

`build_judge` makes a judge from its name, `judge_answers` lets it judge a file's worth of answers,
`load_verdicts` reads what came of it.
"""

from spy_plugin.judging.base import Judge, Judgement, Question
from spy_plugin.judging.build import build_judge, default_cache, with_cache
from spy_plugin.judging.calibration import calibration_score
from spy_plugin.judging.host import HostJudge
from spy_plugin.judging.judging import JudgeSummary, judge_answers, load_verdicts

__all__ = [
    "HostJudge",
    "Judge",
    "JudgeSummary",
    "Judgement",
    "Question",
    "build_judge",
    "calibration_score",
    "default_cache",
    "judge_answers",
    "load_verdicts",
    "with_cache",
]
