"""Every registry entry is correct in the real lmms-eval; no weights needed."""

from __future__ import annotations

import ast
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from spy_plugin.cli.models import command
from spy_plugin.registry.catalog import find_model, models
from tests.hosts.lmms.harness import Harness

LMMS_FACTS = """
import lmms_eval.models as host
from spy_plugin.registry.catalog import models
names = {m.lmms.model for m in models()}
facts = {name: vars(host.MODEL_REGISTRY_V2.get_manifest(name)) for name in names}
"""


@pytest.fixture(scope="module")
def lmms_classes(
    harness: Harness, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """lmms-eval's manifests of the registered models."""
    classes: dict[str, dict[str, Any]] = harness.facts(LMMS_FACTS, tmp_path_factory.mktemp("facts"))
    return classes


def _named_parameters(class_path: str) -> set[str]:
    """The parameters of a class's `__init__`, read from source: importing needs many packages."""
    module, name = class_path.rsplit(".", 1)
    spec = find_spec("lmms_eval")
    assert spec is not None
    file = Path(str(spec.origin)).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef) and node.name == name:
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                    return {argument.arg for argument in method.args.args + method.args.kwonlyargs}
    return set()


def test_every_lmms_model_takes_its_arguments(lmms_classes: dict[str, dict[str, Any]]) -> None:
    for model in models():
        manifest = lmms_classes[model.lmms.model]
        paths = [manifest["simple_class_path"], manifest["chat_class_path"]]
        accepted: set[str] = set().union(*(_named_parameters(path) for path in paths if path))
        if model.lmms.model == "internvl3_5":  # passes all but the weights to InternVL3
            accepted |= {"modality", "device_map"}
        given = dict(model.lmms.arguments)
        if model.lmms.model == "vllm" and model.vllm:  # passes the rest to vllm.LLM
            rest = {name: value for name, value in given.items() if name not in accepted}
            assert rest.items() <= model.vllm.arguments.items(), model.name
            assert given["max_new_tokens"] == 512, model.name
        else:
            assert set(given) <= accepted, model.name
        weights = given.get("pretrained") or given.get("model")
        assert weights == (model.api.model if model.api else model.hub_id)


def test_lmms_eval_reads_our_arguments_as_they_are_meant(harness: Harness, tmp_path: Path) -> None:
    line = command(find_model("glm-4v-9b"), "lmms-eval")
    code = (
        "import shlex\n"
        "from lmms_eval.utils import simple_parse_args_string\n"
        f"words = shlex.split({line!r})\n"
        "facts = simple_parse_args_string(words[words.index('--model_args') + 1])\n"
    )
    arguments = harness.facts(code, tmp_path)
    assert json.loads(arguments["hf_overrides"]) == {"architectures": ["GLM4VForCausalLM"]}
    assert arguments["max_new_tokens"] == 512
