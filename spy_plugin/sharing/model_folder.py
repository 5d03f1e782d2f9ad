"""Write scores into a model's folder: its card, and `.eval_results`.

Entries of others stay as they are. An entry of ours that has another value is replaced only if that
is asked for.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from spy_plugin.errors import DataError
from spy_plugin.files.writing import replacing, write_atomically
from spy_plugin.registry.catalog import line_of
from spy_plugin.sharing.hub_results import DATASET

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, EvalResultEntry

CARD = "README.md"
ENTRIES = ".eval_results/spy-bench.yaml"

_CARD_REMEDY = "Fix the block between the lines of dashes at its top."
_ENTRIES_REMEDY = "It must be a list of entries, as the hub documents them."


def update_folder(
    folder: Path,
    results: Sequence[EvalResult],
    entries: Sequence[EvalResultEntry] = (),
    *,
    force: bool = False,
) -> list[Path]:
    """Add scores to the card of a model and, if there are entries, to its `.eval_results`.

    Both files are checked before one is written.

    Returns:
        The files that were changed.

    Raises:
        DataError: a file is broken, or holds another value and `force` is not set.
    """
    card = _card_data(folder / CARD)
    listed = _listed(folder / ENTRIES)
    changed = []
    new_card = _merged_card(card, folder, results, force=force)
    new_list = _merged_entries(listed, folder / ENTRIES, entries, force=force)
    if new_card:
        save_card(folder / CARD, card)
        changed.append(folder / CARD)
    if new_list:
        text = yaml.safe_dump(listed, sort_keys=False, allow_unicode=True, width=100)
        write_atomically(folder / ENTRIES, text)
        changed.append(folder / ENTRIES)
    return changed


def replace_scores(folder: Path, results: Sequence[EvalResult]) -> None:
    """Put scores in place of all that the model's card says of SPY-Bench: it is another model now.

    Raises:
        DataError: the card is broken.
    """
    data = _card_data(folder / CARD)
    for model in _models(data, folder / CARD):
        model["results"] = [r for r in model["results"] if _type_of(r) != DATASET]
    _merged_card(data, folder, results, force=True)
    save_card(folder / CARD, data)


def save_card(path: Path, data: dict[str, Any]) -> None:
    """Write the data of a card in one step; its text stays."""
    from huggingface_hub import metadata_save

    with replacing(path) as temporary:
        if path.exists():
            shutil.copyfile(path, temporary)
        else:
            temporary.write_text(f"# {path.absolute().parent.name}\n", encoding="utf-8")
        metadata_save(temporary, data)


def _card_data(path: Path) -> dict[str, Any]:
    """Return the data at the top of a card, as plain YAML; empty without any.

    Raises:
        DataError: they are not a YAML mapping.
    """
    from huggingface_hub import metadata_load

    if not path.exists():
        return {}
    try:
        return metadata_load(path) or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"holds no valid data ({error})", _CARD_REMEDY, path=path) from error


def _models(data: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """Return the models of a card's `model-index`.

    Raises:
        DataError: it is not a list of models with results.
    """
    index = data.get("model-index") or []
    good = isinstance(index, list) and all(
        isinstance(model, dict)
        and isinstance(model.get("results"), list)
        and all(isinstance(result, dict) for result in model["results"])
        for model in index
    )
    if not good:
        raise DataError(
            "is not a list of models with results", _CARD_REMEDY, path=path, where="model-index"
        )
    return list(index)


def _merged_card(
    data: dict[str, Any], folder: Path, results: Sequence[EvalResult], *, force: bool
) -> bool:
    """Add results to a card's data; returns whether that changed them."""
    from huggingface_hub.repocard_data import eval_results_to_model_index

    if not results:
        return False
    models = _models(data, folder / CARD)
    name = folder.absolute().name
    model = next((m for m in models if m.get("name") == name), models[0] if models else None)
    if model is None:
        model = {"name": name, "results": []}
        models.append(model)
    data["model-index"] = models
    changed = False
    for new in eval_results_to_model_index(name, list(results))[0]["results"]:
        place = next((r for r in model["results"] if _same_data(r, new)), None)
        if place is None:
            model["results"].append(new)
            changed = True
            continue
        changed |= _merge_metrics(place, new, folder / CARD, force=force)
    return changed


def _merge_metrics(place: dict[str, Any], new: dict[str, Any], path: Path, *, force: bool) -> bool:
    metrics = place.get("metrics")
    if not isinstance(metrics, list):
        raise DataError("are not a list", _CARD_REMEDY, path=path, where="model-index metrics")
    changed = False
    for metric in new["metrics"]:
        at = next((i for i, m in enumerate(metrics) if _same_metric(m, metric)), None)
        if at is None:
            metrics.append(metric)
        elif metrics[at] == metric:
            continue
        elif not force:
            what = f"{metric['name']} on {new['dataset']['name']}"
            _refuse(path, what, metrics[at].get("value"), metric["value"])
        else:
            metrics[at] = metric
        changed = True
    return changed


def _type_of(result: dict[str, Any]) -> object:
    dataset = result.get("dataset")
    return dataset.get("type") if isinstance(dataset, dict) else None


def _same_data(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return _type_of(old) == DATASET and old["dataset"].get("config") == new["dataset"]["config"]


def _same_metric(old: object, new: dict[str, Any]) -> bool:
    if not isinstance(old, dict) or old.get("type") != new["type"]:
        return False
    args = old.get("args")
    return isinstance(args, dict) and args.get("judge") == new["args"]["judge"]


def _listed(path: Path) -> list[Any]:
    """Return the entries of a file of `.eval_results`, as plain YAML; empty without the file.

    Raises:
        DataError: it is not a list of entries; names the line.
    """
    from huggingface_hub import parse_eval_result_entries

    if not path.exists():
        return []
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"is not YAML ({error})", _ENTRIES_REMEDY, path=path) from error
    if found is None:
        return []
    if not isinstance(found, list):
        raise DataError(f"is a {type(found).__name__}", _ENTRIES_REMEDY, path=path)
    for number, entry in enumerate(found):
        try:
            parse_eval_result_entries([entry])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            where = line_of(text, (number,))
            problem = f"is not an entry ({type(error).__name__}: {error})"
            raise DataError(problem, _ENTRIES_REMEDY, path=path, where=where) from error
    return found


def _merged_entries(
    listed: list[Any], path: Path, entries: Sequence[EvalResultEntry], *, force: bool
) -> bool:
    """Add entries to a list of them; returns whether that changed it."""
    from huggingface_hub import eval_result_entries_to_yaml

    changed = False
    for new in eval_result_entries_to_yaml(list(entries)):
        at = next((i for i, old in enumerate(listed) if _key(old) == _key(new)), None)
        if at is None:
            listed.append(new)
        elif listed[at] == new:
            continue
        elif not force:
            _refuse(path, new["dataset"]["task_id"], listed[at].get("value"), new["value"])
        else:
            listed[at] = new
        changed = True
    return changed


def _key(entry: dict[str, Any]) -> tuple[object, object]:
    dataset = entry.get("dataset")
    return (
        (dataset.get("id"), dataset.get("task_id")) if isinstance(dataset, dict) else (None, None)
    )


def _refuse(path: Path, what: str, old: object, new: object) -> None:
    other = f"the value {old}" if old != new else "other details"
    raise DataError(
        f"has {other} for {what}; these results say {new}",
        "Replace it with --force.",
        path=path,
    )
