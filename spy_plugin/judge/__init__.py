"""Verdicts: questions with answers go to a judge, and each comes back as respond or reject.

`build_judge` makes a judge from its name, `judge_answers` lets it judge a file's worth of answers,
`load_verdicts` reads what came of it.
"""

from spy_plugin.judge.base import Judge, Judgement, Question
from spy_plugin.judge.build import build_judge, default_cache, with_cache
from spy_plugin.judge.gold import gold_score
from spy_plugin.judge.host import HostJudge
from spy_plugin.judge.judging import JudgeSummary, judge_answers, load_verdicts

__all__ = [
    "HostJudge",
    "Judge",
    "JudgeSummary",
    "Judgement",
    "Question",
    "build_judge",
    "default_cache",
    "gold_score",
    "judge_answers",
    "load_verdicts",
    "with_cache",
]
