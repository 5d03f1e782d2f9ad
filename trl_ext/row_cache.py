"""Where what is computed of a data set's rows is kept on disk."""

from __future__ import annotations

from pathlib import Path

from datasets import Dataset, config, is_caching_enabled


def cache_file(dataset: Dataset, fingerprint: str) -> str:
    """The file for `fingerprint`: beside the data set's own, else in the cache of `datasets`.

    `datasets` itself would put it into a folder that goes with the process where the rows are in
    memory, as those of `load_spy_tune` are.
    """
    if dataset.cache_files or not is_caching_enabled():
        return str(dataset._get_cache_file_path(fingerprint))
    folder = Path(config.HF_DATASETS_CACHE) / "spy_bench"
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder / f"cache-{fingerprint}.arrow")
