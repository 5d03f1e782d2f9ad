"""Every name of the registry is a model of lmms-eval, with the arguments that it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from spy_plugin.registry.catalog import models

SCRIPT = """
import json
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
print(json.dumps({"resolved": resolved, "made": made}))
"""


def test_every_name_and_alias_resolves_and_brings_its_arguments() -> None:
    if find_spec("lmms_eval") is None:
        pytest.skip("lmms-eval is not installed")
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    facts = json.loads(ran.stdout.splitlines()[-1])
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
                "batch_size": 4,
            },
            "lmms_eval.models.chat.vllm",
        ],
    }
