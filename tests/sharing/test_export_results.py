"""Scores in the formats of the hub, read back by the hub's own library; pull requests offline."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("huggingface_hub")

from huggingface_hub import EvalResult, ModelCard, parse_eval_result_entries
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from spy_plugin.benchmark.records import NOT_ASKED, Outcome
from spy_plugin.cli.main import main
from spy_plugin.errors import SpyBenchError
from spy_plugin.sharing.pull_request import token_from_environment
from tests.report.made_up import verdicts, write_run

REPO = "someone/my-vlm"
SHA = "a" * 40
SECRET = "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"
CARD = "---\nlicense: mit\ntags: [a, b]\nextra: {kept: true}\n---\n\n# Mine\n\nText.\n"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "my-vlm"
    folder.mkdir()
    return folder


def scores(card: ModelCard) -> dict[str, Any]:
    return {each.metric_type: each.metric_value for each in card.data.eval_results or []}


def test_the_card_holds_the_scores_of_the_readme(literal: Path, model: Path) -> None:
    (model / "README.md").write_text(CARD)
    assert main(["export-results", str(literal), str(model)]) == 0
    card = ModelCard.load(model / "README.md")
    assert scores(card) == {"privacy_score": 54.60, "ics": 88.37, "hms": 20.83}
    first = (card.data.eval_results or [])[0]
    assert first.metric_args == {
        "judge": "rules",
        "interval_95": [53.23, 55.84],
        "pictures": 79,
        "protocol": "builtin-1 (77b445b1ef4d)",
        "data": "5eeeb9fbc703",
    }
    assert (first.dataset_name, first.dataset_config, first.task_type) == (
        "SPY-Bench (mini, distractors)", "mini_distractors", "image-text-to-text"
    )  # fmt: skip
    assert card.data.model_name == "my-vlm"
    assert (card.data.license, card.data.extra) == ("mit", {"kept": True})
    assert card.text == "\n\n# Mine\n\nText.\n".removeprefix("\n")
    assert not (model / ".eval_results").exists()


def test_a_folder_without_a_card_gets_one(literal: Path, model: Path) -> None:
    assert main(["export-results", str(literal), str(model)]) == 0
    assert ModelCard.load(model / "README.md").text.strip() == "# my-vlm"


def test_entries_are_read_by_the_hubs_own_parser(literal: Path, model: Path) -> None:
    source = ["--source-url", "https://example.org/run", "--source-name", "our run"]
    words = ["export-results", str(literal), str(model), "--dataset", "owner/spy-bench", *source]
    assert main(words) == 0
    found = parse_eval_result_entries(
        yaml.safe_load((model / ".eval_results" / "spy-bench.yaml").read_text())
    )
    assert [(each.task_id, each.value) for each in found] == [
        ("mini_distractors_privacy_score", 54.60),
        ("mini_distractors_ics", 88.37),
        ("mini_distractors_hms", 20.83),
    ]
    first = found[0]
    assert (first.dataset_id, first.source_url, first.source_name) == (
        "owner/spy-bench", "https://example.org/run", "our run"
    )  # fmt: skip
    assert first.notes == (
        "judge rules (offline), 95% interval 53.23 to 55.84, pictures 79, "
        "protocol builtin-1 (77b445b1ef4d), data 5eeeb9fbc703"
    )
    assert first.date is not None
    assert first.date.endswith("Z")


def test_both_conditions_stay_apart(model: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "run", "m", verdicts(seed=1))
    write_run(
        tmp_path / "run",
        "m",
        verdicts(seed=2),
        variant="no_distractors",
        dataset="SPYBench_MINI_NO_DISTRACTORS",
    )
    assert main(["export-results", str(tmp_path / "run"), str(model)]) == 0
    found = ModelCard.load(model / "README.md").data.eval_results or []
    assert [each.dataset_config for each in found] == [
        *["made_up_distractors"] * 3, *["made_up_no_distractors"] * 3
    ]  # fmt: skip


def test_entries_of_others_stay_and_ours_are_replaced_on_request_only(
    literal: Path,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = EvalResult("image-text-to-text", "other/data", "Other", "accuracy", 12.5)
    card = ModelCard(CARD)
    card.data.model_name, card.data.eval_results = "mine", [other]
    card.save(model / "README.md")
    entries = model / ".eval_results" / "spy-bench.yaml"
    entries.parent.mkdir()
    foreign = {"dataset": {"id": "a/b", "task_id": "c"}, "value": 1, "new_field": [1, 2]}
    entries.write_text(yaml.safe_dump([foreign]))
    words = ["export-results", str(literal), str(model), "--dataset", "owner/spy-bench"]
    assert main(words) == 0
    before = {path: path.read_bytes() for path in (model / "README.md", entries)}
    capsys.readouterr()
    assert main(words) == 0
    assert "has these scores already" in capsys.readouterr().out
    write_run(tmp_path / "new", "m", verdicts(), benchmark="mini", dataset="SPYBench_MINI")
    again = ["export-results", str(tmp_path / "new"), str(model), "--dataset", "owner/spy-bench"]
    assert main(again) == 1
    message = capsys.readouterr().err
    assert f"{model / 'README.md'}: has the value 54.6 for Privacy Score on SPY-Bench" in message
    assert "Replace it with --force." in message
    assert {path: path.read_bytes() for path in before} == before
    assert main([*again, "--force"]) == 0
    found = ModelCard.load(model / "README.md")
    assert found.data.model_name == "mine"
    assert list(scores(found)) == ["accuracy", "privacy_score", "ics", "hms"]
    assert scores(found)["privacy_score"] != 54.6
    listed = yaml.safe_load(entries.read_text())
    assert listed[0] == foreign
    assert len(listed) == 4


def test_partial_runs_and_several_models_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = verdicts()
    gap = [replace(v, outcome=Outcome.FAILED, error=NOT_ASKED) for v in found[:5]] + found[5:]
    write_run(tmp_path / "partial", "m", gap)
    assert main(["export-results", str(tmp_path / "partial"), str(model)]) == 1
    assert "m is partial: 595 of 600 samples" in capsys.readouterr().err
    for name in ("one", "two"):
        write_run(tmp_path / "run", name)
    assert main(["export-results", str(tmp_path / "run"), str(model)]) == 1
    assert "the results are of one, two. Name one" in capsys.readouterr().err
    assert main(["export-results", str(tmp_path / "run"), str(model), "--model", "two"]) == 0
    assert main(["export-results", str(tmp_path / "run"), str(tmp_path / "none")]) == 1
    assert "is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("README.md", "---\na: [\n---\n", "README.md: holds no valid data"),
        ("README.md", "---\n- a\n---\n", "README.md: holds no valid data"),
        ("README.md", "---\nmodel-index: 3\n---\n", "README.md, model-index: is not a list"),
        ("README.md", "---\nmodel-index: [{name: a}]\n---\n", "README.md, model-index: is not"),
        (".eval_results/spy-bench.yaml", "a: 1\n", "spy-bench.yaml: is a dict"),
        (
            ".eval_results/spy-bench.yaml",
            "- {dataset: {id: a/b, task_id: c}, value: 1}\n- {value: 2}\n",
            "spy-bench.yaml, line 2: is not an entry",
        ),
        (".eval_results/spy-bench.yaml", "- 3\n", "spy-bench.yaml, line 1: is not an entry"),
        (".eval_results/spy-bench.yaml", "[", "spy-bench.yaml: is not YAML"),
    ],
)
def test_broken_files_are_named_and_kept(
    name: str,
    text: str,
    problem: str,
    literal: Path,
    model: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = model / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    words = ["export-results", str(literal), str(model), "--dataset", "owner/spy-bench", "--force"]
    assert main(words) == 1
    assert problem in capsys.readouterr().err
    assert path.read_text() == text


class Hub:
    """A hub that holds one model and takes pull requests; see `commits`."""

    def __init__(self, server: HTTPServer, files: dict[str, str]) -> None:
        self.files, self.commits, self.tokens = files, [], set()
        self.url = server.url_for("").rstrip("/")
        server.expect_request(f"/api/models/{REPO}").respond_with_handler(self.about)
        server.expect_request("/api/validate-yaml").respond_with_json(
            {"errors": [], "warnings": []}
        )
        server.expect_request(f"/api/models/{REPO}/preupload/main").respond_with_handler(
            self.preupload
        )
        server.expect_request(f"/api/models/{REPO}/commit/main").respond_with_handler(self.commit)
        for name in ("README.md", ".eval_results/spy-bench.yaml"):
            path = f"/{REPO}/resolve/{SHA}/{name}"
            server.expect_request(path).respond_with_handler(self.resolve)

    def about(self, request: Request) -> Response:
        self.tokens.add(request.headers.get("Authorization"))
        return Response(json.dumps({"id": REPO, "sha": SHA}), content_type="application/json")

    def resolve(self, request: Request) -> Response:
        name = request.path.removeprefix(f"/{REPO}/resolve/{SHA}/")
        if name not in self.files:
            return Response(status=404, headers={"X-Error-Code": "EntryNotFound"})
        headers = {"X-Repo-Commit": SHA, "ETag": f'"{len(self.files[name]):040x}"'}
        return Response(self.files[name], headers=headers)

    def preupload(self, request: Request) -> Response:
        files = [
            {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
            for file in (request.json or {})["files"]
        ]
        return Response(json.dumps({"files": files}), content_type="application/json")

    def commit(self, request: Request) -> Response:
        assert request.args["create_pr"] == "1"
        self.commits.append([json.loads(line) for line in request.data.splitlines()])
        done = {
            "success": True,
            "commitOid": "b" * 40,
            "commitUrl": f"{self.url}/{REPO}/commit/{'b' * 40}",
            "pullRequestUrl": f"{self.url}/{REPO}/discussions/7",
        }
        return Response(json.dumps(done), content_type="application/json")


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    with HTTPServer(host="127.0.0.1") as started:
        yield started


def push(hub_url: str, run: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does: the library reads its settings when it starts."""
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    environment |= {"HF_ENDPOINT": hub_url, "HF_TOKEN": SECRET, "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-m", "spy_plugin.cli", "export-results", str(run), str(folder)]
    return subprocess.run(
        [*command, "--push", REPO, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_pull_request_merges_with_what_the_hub_holds(
    literal: Path,
    model: Path,
    server: HTTPServer,
) -> None:
    hub = Hub(server, {"README.md": CARD})
    done = push(hub.url, literal, model, "--dataset", "owner/spy-bench")
    assert done.returncode == 0, done.stderr
    assert f"pull request: {hub.url}/{REPO}/discussions/7" in done.stdout
    assert SECRET not in done.stdout + done.stderr
    assert hub.tokens == {f"Bearer {SECRET}"}
    ((header, *files),) = hub.commits
    assert header["value"]["parentCommit"] == SHA
    assert header["value"]["summary"] == "Add SPY-Bench results"
    written = {
        file["value"]["path"]: base64.b64decode(file["value"]["content"]).decode() for file in files
    }
    assert set(written) == {"README.md", ".eval_results/spy-bench.yaml"}
    card = ModelCard(written["README.md"])
    assert scores(card)["privacy_score"] == 54.60
    assert (card.data.license, card.data.model_name) == ("mit", "my-vlm")
    assert written["README.md"].endswith("# Mine\n\nText.\n")
    hub.files |= written
    done = push(hub.url, literal, model, "--dataset", "owner/spy-bench")
    assert f"{REPO} has these scores already" in done.stdout
    assert len(hub.commits) == 1


def test_a_refusal_of_the_hub_is_told_without_the_token(
    literal: Path,
    model: Path,
    server: HTTPServer,
) -> None:
    server.expect_request(f"/api/models/{REPO}").respond_with_data(
        f"no rights for {SECRET}", status=403
    )
    done = push(server.url_for("").rstrip("/"), literal, model)
    assert done.returncode == 1
    assert f"spy-bench: error: no pull request to {REPO}: " in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "no-address"])
def test_a_hub_that_cannot_be_reached_is_told_without_a_traceback(
    url: str,
    literal: Path,
    model: Path,
) -> None:
    done = push(url, literal, model)
    assert done.returncode == 1
    assert f"spy-bench: error: no pull request to {REPO}: " in done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("token", ["hf_one\nhf_two", "hf_\N{LATIN SMALL LETTER E WITH ACUTE}"])
def test_a_token_that_cannot_be_sent_is_not_shown(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(SpyBenchError, match="characters that no token has") as caught:
        token_from_environment()
    assert token not in str(caught.value)


def test_without_a_token_nothing_is_written(
    literal: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert main(["export-results", str(literal), str(model), "--push", REPO]) == 1
    assert "there is no token for the hub. Set HF_TOKEN" in capsys.readouterr().err
    assert not list(model.iterdir())
    with pytest.raises(SystemExit):
        main(["export-results", str(literal), str(model), "--push", "not a repo"])


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "results", "https://", "http://[x", "https://a b"]
)
def test_a_source_must_be_a_web_address(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export-results", "run", str(tmp_path), "--source-url", url])
    assert ended.value.code == 2
    assert "must be a whole http address" in capsys.readouterr().err
