"""SPY-Bench: does a vision-language model protect what its user calls private?

The public API. Each name is imported from its module at first use, so that `import spy_plugin`
costs nothing. `docs/api.md` documents these names and states what else is public.
"""

from __future__ import annotations

__version__ = "0.1.0"

# Not from `typing`: importing that would take longer than this whole module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from spy_plugin.benchmark.answers import read_answers
    from spy_plugin.benchmark.protocol import (
        BUILTIN,
        Protocol,
        expected_outcome,
        read_official_protocol,
    )
    from spy_plugin.benchmark.records import Answer, Outcome, Sample, Scenario, Verdict
    from spy_plugin.benchmark.samples import Benchmark
    from spy_plugin.benchmarks import MissingDataError, open_benchmark, open_own, open_release
    from spy_plugin.errors import (
        DataError,
        JudgeSetupError,
        MissingDependencyError,
        SpyBenchError,
    )
    from spy_plugin.judging.base import Judge, Judgement, Question
    from spy_plugin.judging.build import build_judge
    from spy_plugin.judging.judge_answers import JudgeSummary, judge_answers
    from spy_plugin.judging.model_judge import ModelJudge
    from spy_plugin.models.base import Conversation, Decoding, Model, ModelSetupError, Reply
    from spy_plugin.models.build import build_model
    from spy_plugin.models.options import ModelOptions
    from spy_plugin.report import (
        NoResultsError,
        Report,
        ReportOptions,
        build_report,
        write_report,
    )
    from spy_plugin.scoring.agreement import Agreement, agreement
    from spy_plugin.scoring.compare import Difference, differences, label_differences
    from spy_plugin.scoring.metrics import METRICS, compute
    from spy_plugin.scoring.stats import FIGURES, Estimate, bounds, estimates
    from spy_plugin.scoring.table import VerdictTable, tabulate
    from spy_plugin.scoring.verdicts import read_table, read_verdicts

__all__ = [
    "BUILTIN",
    "FIGURES",
    "METRICS",
    "Agreement",
    "Answer",
    "Benchmark",
    "Conversation",
    "DataError",
    "Decoding",
    "Difference",
    "Estimate",
    "Judge",
    "JudgeSetupError",
    "JudgeSummary",
    "Judgement",
    "MissingDataError",
    "MissingDependencyError",
    "Model",
    "ModelJudge",
    "ModelOptions",
    "ModelSetupError",
    "NoResultsError",
    "Outcome",
    "Protocol",
    "Question",
    "Reply",
    "Report",
    "ReportOptions",
    "Sample",
    "Scenario",
    "SpyBenchError",
    "Verdict",
    "VerdictTable",
    "agreement",
    "bounds",
    "build_judge",
    "build_model",
    "build_report",
    "compute",
    "differences",
    "estimates",
    "expected_outcome",
    "judge_answers",
    "label_differences",
    "open_benchmark",
    "open_own",
    "open_release",
    "read_answers",
    "read_official_protocol",
    "read_table",
    "read_verdicts",
    "tabulate",
    "write_report",
]

_NAMES = {
    "benchmark.answers": "read_answers",
    "benchmark.protocol": "BUILTIN Protocol expected_outcome read_official_protocol",
    "benchmark.records": "Answer Outcome Sample Scenario Verdict",
    "benchmark.samples": "Benchmark",
    "benchmarks": "MissingDataError open_benchmark open_own open_release",
    "errors": "DataError JudgeSetupError MissingDependencyError SpyBenchError",
    "judging.base": "Judge Judgement Question",
    "judging.build": "build_judge",
    "judging.judge_answers": "JudgeSummary judge_answers",
    "judging.model_judge": "ModelJudge",
    "models.base": "Conversation Decoding Model ModelSetupError Reply",
    "models.build": "build_model",
    "models.options": "ModelOptions",
    "report": "NoResultsError Report ReportOptions build_report write_report",
    "scoring.agreement": "Agreement agreement",
    "scoring.compare": "Difference differences label_differences",
    "scoring.metrics": "METRICS compute",
    "scoring.stats": "FIGURES Estimate bounds estimates",
    "scoring.table": "VerdictTable tabulate",
    "scoring.verdicts": "read_table read_verdicts",
}
"""Module -> the public names that it defines."""

_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the names of this module, the public ones included."""
    return sorted({*globals(), *__all__})
