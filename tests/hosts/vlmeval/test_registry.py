"""Every registry entry is correct in the real VLMEvalKit; no weights needed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from spy_plugin.registry.catalog import hosts, models, variants
from tests.hosts.vlmeval.hosting import run_host
from tests.registry.test_catalog import CHECKPOINTS

VLMEVAL_FACTS = """
import inspect, json
from spy_plugin.compat.torchvision import declare_missing_ops
declare_missing_ops()
from vlmeval.config import supported_VLM
keys = {name: getattr(entry, "keywords", {}) for name, entry in supported_VLM.items()}
own = {name: str(args.get("model_path") or args.get("model")) for name, args in keys.items()}
from spy_plugin.hosts.vlmeval import names
from spy_plugin.hosts.vlmeval.registration import register
from spy_plugin.registry.catalog import load_target, models
assert register()
resolved = {name: names.model(name) in supported_VLM for m in models() for name in m.names}
targets = {}
for m in models():
    if m.vlmeval.target:
        target = load_target(m.vlmeval.target)
        signature = inspect.signature(target)
        signature.bind(**m.vlmeval.arguments)
        # What only goes into **kwargs must at least be what the host itself passes there.
        known = set(signature.parameters)
        for name, entry in supported_VLM.items():
            known |= set(keys.get(name, ())) if getattr(entry, "func", None) is target else set()
        targets[m.name] = sorted(set(m.vlmeval.arguments) - known)
import vlmeval.dataset
print(json.dumps({"own": own, "resolved": resolved, "targets": targets,
                  "datasets": vlmeval.dataset.SUPPORTED_DATASETS}))
"""


@pytest.fixture(scope="module")
def vlmeval_facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The models of the installed VLMEvalKit, read in a process of its own."""
    folder = tmp_path_factory.mktemp("facts")
    (folder / "facts.py").write_text(VLMEVAL_FACTS)
    ran = run_host(cwd=folder, script=folder / "facts.py")
    assert ran.returncode == 0, ran.stderr
    facts: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return facts


def test_every_vlmeval_key_is_the_hosts_and_means_the_same_weights(
    vlmeval_facts: dict[str, Any],
) -> None:
    original = {"llava-1.5-13b-hf": "liuhaotian/llava-v1.5-13b"}  # recorded in its entry
    for model in models():
        if model.vlmeval.key:
            theirs = vlmeval_facts["own"][model.vlmeval.key]
            ours = model.api.model if model.api else original.get(model.name, model.hub_id)
            assert theirs == ours, model.name


def test_every_name_and_alias_resolves_in_vlmeval(vlmeval_facts: dict[str, Any]) -> None:
    assert [name for name, known in vlmeval_facts["resolved"].items() if not known] == []


def test_the_classes_that_we_register_take_their_arguments(vlmeval_facts: dict[str, Any]) -> None:
    own = {model.name for model in models() if model.vlmeval.target}
    assert vlmeval_facts["targets"] == {name: [] for name in own}
    assert {*CHECKPOINTS, "Mistral-Small-3.1-24B-Instruct-2503"} <= own
    assert not own & set(vlmeval_facts["own"])


def test_every_variant_and_alias_is_a_data_set_of_vlmeval(vlmeval_facts: dict[str, Any]) -> None:
    known = set(vlmeval_facts["datasets"])
    ours = {name for name in known if name.startswith("SPYBench")}
    assert {variant.vlmeval for variant in variants() if not variant.self_moderation} <= ours
    assert ours <= {variant.vlmeval for variant in variants()}
    assert set(hosts()["vlmeval"].dataset_aliases.values()) <= known
