"""Every function of lmms-eval that is replaced; see `spy_plugin.hosts.patches`."""

from __future__ import annotations

import difflib
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType
from typing import Any

from spy_plugin.errors import SpyBenchError
from spy_plugin.hosts.hooks import stepping_aside
from spy_plugin.hosts.patches import Function, Patch

TASK_FOLDER = Path(__file__).with_name("tasks")

TASKS = Patch(
    "lmms_eval.tasks:TaskManager.initialize_tasks",
    ("self", "include_path"),
    f"name the tasks' folder on the command line: --include_path {TASK_FOLDER}",
)
RESULTS = Patch(
    "lmms_eval.loggers.evaluation_tracker:EvaluationTracker.save_results_aggregated",
    ("self", "results", "samples", "datetime_str"),
    "the results have no standard errors and no overall score, and a run leaves no verdicts",
)

EVALUATION = Patch(
    "lmms_eval.__main__:cli_evaluate_single",
    ("args",),
    "a misspelt name ends in a traceback, with the reason in its last line",
)

_UNKNOWN_TASK = "Tasks not found: "
"""How the host's `ValueError` for a misspelt task begins."""


def add_tasks(_: ModuleType) -> None:
    """Make every `TaskManager` of the host search our folder, too; called once it is imported."""
    TASKS.apply(_with_our_folder)


def _with_our_folder(original: Function) -> Function:
    def initialize_tasks(
        self: Any, include_path: str | list[str] | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        with stepping_aside("add its rows to lmms-eval's results"):
            _extend_results()
        paths = [include_path] if isinstance(include_path, str) else list(include_path or [])
        return original(self, [*paths, str(TASK_FOLDER)], *args, **kwargs)

    return initialize_tasks


def _extend_results() -> None:
    if RESULTS.target.partition(":")[0] not in sys.modules:
        return  # only a run that evaluates imports that module
    from spy_plugin.hosts.versions import warn_if_untested

    warn_if_untested("lmms-eval")
    RESULTS.apply(_with_our_part)


def _with_our_part(original: Function) -> Function:
    from spy_plugin.hosts.lmms.results import add_rows, write_run
    from spy_plugin.hosts.lmms.scores import FINISHED

    def save_results_aggregated(
        self: Any, results: dict[str, Any], samples: Any, datetime_str: str
    ) -> Any:
        finished = dict(FINISHED)
        FINISHED.clear()
        with stepping_aside("add its rows to lmms-eval's results"):
            add_rows(results, finished)
        saved = original(self, results, samples, datetime_str)
        if self.output_path:
            with stepping_aside(f"write its files to {self.output_path}"):
                started = _started(self.general_config_tracker.start_time)
                folder = Path(self.output_path) / self.general_config_tracker.model_name_sanitized
                for task, judged in finished.items():
                    write_run(folder, datetime_str, task, judged, results, started)
        return saved

    return save_results_aggregated


def explain_names(_: ModuleType) -> None:
    """Let a run of our launcher end in one line where a name is wrong."""
    EVALUATION.apply(_with_reasons)


def _with_reasons(original: Function) -> Function:
    """The host catches every other exception and prints its traceback, which a bug must keep."""

    def cli_evaluate_single(args: Any) -> Any:
        try:
            _refuse_unknown_model(args.model)
            return original(args)
        except SpyBenchError as error:
            raise SystemExit(f"spy-bench: error: {error}") from error
        except ValueError as error:
            if not str(error).startswith(_UNKNOWN_TASK):
                raise
            raise SystemExit(f"spy-bench: error: {error}") from error

    return cli_evaluate_single


def _refuse_unknown_model(name: str) -> None:
    """Refuse a model as the host would, which lists its three hundred names twice.

    Raises:
        SpyBenchError: the host has no such model; the closest names are given.
    """
    from lmms_eval.models import MODEL_REGISTRY_V2

    known = MODEL_REGISTRY_V2.list_model_names()
    if name not in known:
        close = ", ".join(difflib.get_close_matches(name, known))
        hint = f"Did you mean {close}?" if close else "See: lmms-eval models --aliases"
        raise SpyBenchError(f"lmms-eval has no model {name!r}. {hint}")


def _started(counter: float) -> datetime:
    """Return the date of a moment that the host measured with `time.perf_counter`."""
    return datetime.now(timezone.utc) - timedelta(seconds=time.perf_counter() - counter)
