"""Every name of the registry is a model of lmms-eval, with the arguments that it needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from spy_plugin.errors import SpyBenchError
from spy_plugin.hosts.lmms.named_models import with_defaults
from spy_plugin.registry.catalog import models
from tests.conftest import needs
from tests.hosts.lmms.harness import Harness

SCRIPT = """
from spy_plugin.compat.torchvision import declare_missing_ops
declare_missing_ops()
import lmms_eval.models as host
from spy_plugin.hosts.lmms.named_models import named_manifests
for manifest in named_manifests():
    host.MODEL_REGISTRY_V2.register_manifest(manifest, overwrite=True)
from spy_plugin.registry.catalog import models

known = [name for m in models() for name in m.names]
resolved = {name: host.MODEL_REGISTRY_V2.resolve(name).class_path for name in known}
made = {}
for name, arguments in (("Qwen2-VL-7B", "max_pixels=7"), ("Mistral-Small-3.1", "")):
    cls = host.get_model(name)
    def note(self, **arguments):
        made[name] = [arguments, [c.__module__ for c in cls.__mro__][1]]
    cls.__init__ = note
    cls.create_from_arg_string(arguments, {"batch_size": 4, "device": None})
facts = {"resolved": resolved, "made": made}
"""


def test_every_name_and_alias_resolves_and_brings_its_arguments(
    harness: Harness, tmp_path: Path
) -> None:
    facts = harness.facts(SCRIPT, tmp_path)
    for model in models():
        paths = {facts["resolved"][name] for name in model.names}
        assert len(paths) == 1, model.name
    own = [facts["resolved"][model.name] for model in models()]
    assert len(set(own)) == len(own)
    assert facts["made"] == {
        "Qwen2-VL-7B": [
            {
                "pretrained": "Qwen/Qwen2-VL-7B-Instruct",
                "min_pixels": 200704,
                "max_pixels": 7,
                "batch_size": 4,
            },
            "lmms_eval.models.simple.qwen2_vl",
        ],
        "Mistral-Small-3.1": [
            {
                "model": "mistralai/Mistral-Small-3.1-24B-Instruct-2503",
                "tokenizer_mode": "mistral",
                "max_model_len": 8192,
                "max_new_tokens": 512,
                "trust_remote_code": False,
                "batch_size": 4,
            },
            "lmms_eval.models.chat.vllm",
        ],
    }


@needs("lmms_eval")
def test_code_of_a_repository_runs_only_when_the_user_says_so() -> None:
    class Wrapper:
        def __init__(self, model: str, trust_remote_code: bool = True) -> None:
            self.trusts = trust_remote_code

    plain = with_defaults(Wrapper, {"model": "m"})
    assert plain.create_from_arg_string("").trusts is False
    assert plain.create_from_arg_string("trust_remote_code=True").trusts is True
    needy = with_defaults(Wrapper, {"model": "m"}, needs_code_of="owner/m")
    with pytest.raises(SpyBenchError, match=r"owner/m runs Python code.*trust_remote_code=True"):
        needy.create_from_arg_string("model=n")
    assert needy.create_from_arg_string("trust_remote_code=True").trusts is True
