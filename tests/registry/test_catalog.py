"""Every registry entry is consistent and correct in the real hosts; no weights needed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from spy_plugin.benchmark.policies import POLICIES
from spy_plugin.benchmark.protocol import CONFIG_FILE, SELF_MOD_FILE
from spy_plugin.benchmarks import EMBEDDED
from spy_plugin.cli.main import main
from spy_plugin.cli.main import parse as parse_command
from spy_plugin.cli.models import HOSTS, WITHOUT_DOWNLOAD, command, describe
from spy_plugin.errors import DataError, SpyBenchError
from spy_plugin.models.packaged import PACKAGED
from spy_plugin.registry import catalog as registry
from spy_plugin.registry.catalog import (
    canonical_name,
    find_model,
    models,
    parse,
    resolve_model,
    variants,
)
from spy_plugin.registry.schema import Model, Release

PAPER = """LLaVA 1.5 13B; LLaVA NeXT Vicuna 13B; LLaVA OneVision Qwen2 7B;
Llama 3.2 11B Vision Instruct; Pixtral 12B; GLM 4V 9B; Deepseek VL2;
InternVL 2.5 4B; InternVL 2.5 8B; InternVL 2.5 38B;
InternVL 2.5 78B; Qwen2 VL 7B Instruct; Qwen2.5 VL 3B Instruct; Qwen2.5 VL 7B Instruct;
Qwen2.5 VL 32B Instruct; Qwen2.5 VL 72B Instruct; Phi 4 Multimodal Instruct;
Mistral Small 3.1 24B Instruct 2503; GPT 4o 2024-11-20; Gemini 2.0 Flash; o4-mini 2025-04-16"""
CHECKPOINTS = [f"SPY_Qwen2-VL-7B-Instruct_{method}" for method in ("SFT", "DPO", "NCA", "NCA-P")]

ENTRY = {
    "name": "m",
    "display_name": "M",
    "hub_id": "o/m",
    "kind": "open",
    "vlmeval": {"key": "m"},
    "lmms": {"model": "vllm"},
    "vllm": {},
}


def _model(**fields: Any) -> Model:
    return Model.model_validate(ENTRY | fields)


def test_the_papers_21_models_come_first_and_then_its_checkpoints() -> None:
    names = [name.strip() for name in PAPER.replace("\n", " ").split(";")]
    assert [model.display_name for model in models()[:21]] == names
    assert [model.name for model in models()[21:25]] == CHECKPOINTS
    assert [model.paper for model in models()].count(True) == 25


@pytest.mark.parametrize("family", ["Qwen2.5-VL", "Qwen3-VL", "InternVL3-", "InternVL3_5", "gemma"])
def test_todays_families_are_known(family: str) -> None:
    assert len([model for model in models() if model.name.startswith(family)]) >= 3


@pytest.mark.parametrize("model", models(), ids=lambda model: model.name)
def test_every_name_of_a_model_means_it(model: Model) -> None:
    for name in model.known_as:
        assert resolve_model(name) is model
        assert canonical_name(name) == model.name
    assert find_model(model.name.upper()) is model


@pytest.mark.parametrize("model", models(), ids=lambda model: model.name)
def test_every_command_is_whole(model: Model) -> None:
    for host in HOSTS:
        assert command(model, host)
    assert model.display_name in describe(model)
    if model.base:
        assert resolve_model(model.base) is not None
    assert not model.published or model.name == "SPY_Qwen2-VL-7B-Instruct_NCA-P"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Qwen__Qwen2-VL-7B-Instruct", "Qwen2-VL-7B-Instruct"),
        ("/data/models/Qwen2-VL-7B-Instruct", "Qwen2-VL-7B-Instruct"),
        ("qwen2 vl 7b instruct", "Qwen2-VL-7B-Instruct"),
        ("me/Qwen2-VL-7B-Instruct", "me/Qwen2-VL-7B-Instruct"),
        ("outputs/mine", "outputs/mine"),
        ("spy-oracle", "spy-oracle"),
    ],
)
def test_results_are_matched_to_one_name(given: str, name: str) -> None:
    assert canonical_name(given) == name


def test_an_unknown_name_gets_the_closest_ones() -> None:
    with pytest.raises(SpyBenchError, match=r"'Qwen2-VL-8B'.*Did you mean .*Qwen2-VL-7B-Instruct"):
        find_model("Qwen2-VL-8B")
    with pytest.raises(SpyBenchError, match="See: spy-bench models"):
        find_model("%%%%")


@pytest.mark.parametrize(
    "second",
    [{"name": "n", "hub_id": "other/M"}, {"name": "n", "hub_id": "o/n", "aliases": ["M"]}],
)
def test_two_models_may_not_share_a_name(second: dict[str, Any]) -> None:
    other = {"display_name": "N", "vlmeval": {"key": "n"}} | second
    with pytest.raises(DataError, match="means both m and n"):
        registry.index_names([_model(), _model(**other)])


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"kind": "closed"}, "0.kind"),
        ({"aliases": ["a/b"]}, "0.aliases.0"),
        ({"hub_id": "no-owner"}, "0.hub_id"),
        ({"size": 7}, "0.size"),
        ({"parameters": -1}, "0.parameters"),
        ({"vlmeval": {}}, "0.vlmeval"),
        ({"vlmeval": {"key": "a", "target": "b:c"}}, "0.vlmeval"),
        ({"vlmeval": {"key": "a", "arguments": {"b": 1}}}, "0.vlmeval"),
        ({"kind": "api"}, "0"),
        ({"vllm": None}, "0"),
        ({"kind": "checkpoint"}, "0"),
        ({"published": [{"figure": "ICS", "value": 1.0, "source": ""}]}, "0.published.0.source"),
    ],
)
def test_a_wrong_entry_is_refused_where_it_is(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(DataError) as error:
        parse(yaml.safe_dump([ENTRY | fields]), tuple[Model, ...], path="models.yaml")
    assert re.match(rf"models\.yaml, line \d+, {re.escape(where)}: ", str(error.value))


@pytest.mark.parametrize("text", ["- {a: 1, a: 2}", "- {", "!!python/object/apply:os.getcwd []"])
def test_broken_yaml_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"^models\.yaml: is not YAML"):
        parse(text, tuple[Model, ...], path="models.yaml")


def test_the_variants_of_both_hosts_are_the_same_ones() -> None:
    for variant in variants():
        mark = "" if variant.benchmark == "official" else f"_{variant.benchmark}"
        mark = mark.replace("-", "_")
        assert variant.vlmeval.startswith(f"SPYBench{mark.upper()}")
        assert variant.lmms.startswith(f"spy_bench{mark}_")
        assert variant.distractors != variant.vlmeval.endswith("_NO_DISTRACTORS")
        assert variant.distractors != variant.lmms.endswith("_no_distractors")
        assert variant.self_moderation == variant.vlmeval.endswith("_SELF_MOD")
        assert variant.self_moderation == variant.lmms.endswith("_self_mod")
    asked = [variant.model_dump(exclude={"vlmeval", "lmms"}) for variant in variants()]
    assert all(asked.count(each) == 1 for each in asked)
    assert len(asked) == 3 * len(("official", "own", *EMBEDDED))


def test_the_release_names_every_file_that_we_read(shared: Path) -> None:
    from tests.data.conftest import git_blob

    release: Release = registry.releases()[0]
    assert {CONFIG_FILE.as_posix(), SELF_MOD_FILE.as_posix()} <= set(release.files)
    for name, file in (
        ("benchmark/data/label2text.json", "label2text.json"),
        ("benchmark/data/scenarios.json", "scenarios.json"),
    ):
        assert release.files[name] == git_blob(shared / "ref-data" / file)
    evaluation = shared / "ref-data" / "spy_tune_eval_data.json"
    assert release.tune_files["train/data/eval_data.json"] == git_blob(evaluation)


def test_the_registry_is_read_without_any_host_and_the_cli_without_the_registry() -> None:
    heavy = {"torch", "transformers", "pandas", "vlmeval", "lmms_eval"}
    show_help = "from spy_plugin.cli.main import main\ntry: main(['-h'])\nexcept SystemExit: pass"
    for code, unwanted in (
        ("from spy_plugin.registry import catalog; catalog.models()", heavy),
        (show_help, heavy | {"pydantic", "yaml"}),
    ):
        script = f"{code}\nimport sys; print('|'.join(m for m in sys.modules if '.' not in m))"
        ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        assert not unwanted & set(ran.stdout.splitlines()[-1].split("|"))


def test_the_command_lists_and_explains(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1 : len(models()) + 1]] == [m.name for m in models()]
    assert {*POLICIES, *PACKAGED} == WITHOUT_DOWNLOAD.keys()
    assert {line.split()[0] for line in lines if line.startswith("spy-")} == set(WITHOUT_DOWNLOAD)
    assert main(["models", "gpt-4o", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["api"]["model"] == "gpt-4o-2024-11-20"
    assert main(["models", "pixtral-12b", "--host", "lmms-eval"]) == 0
    assert "tokenizer_mode=mistral" in capsys.readouterr().out
    assert main(["models", "gpt-5o"]) == 1
    assert "Did you mean" in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], *(["--host", host] for host in HOSTS)])
def test_the_table_fits_a_terminal(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", *more]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_a_misspelt_policy_gets_the_closest_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "spy-oracel"]) == 1
    assert "Did you mean spy-oracle" in capsys.readouterr().err
    assert main(["models", "SPY_Oracle", "--host", "vlmeval"]) == 0
    assert capsys.readouterr().out.endswith("--model spy-oracle\n")


@pytest.mark.parametrize("name", WITHOUT_DOWNLOAD)
def test_what_needs_no_download_is_explained(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["models", name]) == 0
    said = capsys.readouterr().out
    assert f"spy-bench run vlmeval -- --data SPYBench_{'LAB' if 'tiny' in name else 'MINI'}" in said
    assert main(["models", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == name
    command = said.splitlines()[-1].split()
    monkeypatch.chdir(tmp_path)
    if "policy" in command:
        assert main(command[1:]) == 0
        assert "answered 860" in capsys.readouterr().out
    else:
        assert parse_command(command[1:])[0].model == name
