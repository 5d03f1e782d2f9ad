"""No report says where a user keeps files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from spy_plugin.benchmark.records import Outcome
from spy_plugin.report import FILES, ReportOptions, combine
from spy_plugin.report.provenance import cut_paths
from spy_plugin.runs.metadata import JudgeInfo
from tests.report.made_up import verdicts, write_run


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/jo/models/Qwen", ".../Qwen"),
        ("/home/jo", "~"),
        ("~/.cache/x/y", ".../y"),
        ("file:///srv/data/x", ".../x"),
        ("cache:/srv/data/y, /root/a/b", "cache:.../y, .../b"),
        ("--model=/srv/data/w", "--model=.../w"),
        (r"C:\data\x\y D:/work/x C:\z", ".../y .../x .../z"),
        (r"\\host\share\x", ".../x"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("openai:http://127.0.0.1:8000/v1", "openai:http://127.0.0.1:8000/v1"),
        ("a/b/c and 1/2 and/or </think>", "a/b/c and 1/2 and/or </think>"),
    ],
)
def test_absolute_paths_are_cut_to_their_last_part(text: str, expected: str) -> None:
    assert cut_paths(text) == expected


def test_no_file_of_a_report_holds_an_absolute_path(tmp_path: Path) -> None:
    secret = "/srv/secret-folder/user-jo/x"
    found = [
        replace(v, outcome=Outcome.FAILED, error=f"cannot read {secret}") if n % 50 == 0 else v
        for n, v in enumerate(verdicts(items=20))
    ]
    write_run(
        tmp_path / "run",
        "m",
        found,
        benchmark=f"{secret}/own",
        judge=JudgeInfo(name=f"vllm:{secret}", fingerprint="f"),
        model_path=secret,
        options={"cache": secret, "words": [f"file://{secret}", {"a": f"--b={secret}"}]},
        remark=secret,
    )
    metadata = next((tmp_path / "run").glob("*_spy.json"))
    metadata.write_text(metadata.read_text().replace('"model": "m"', f'"model": "{secret}/m"'))
    combine([tmp_path / "run"], tmp_path / "out", ReportOptions(resamples=20))
    for name in FILES:
        text = (tmp_path / "out" / name).read_text()
        assert "secret-folder" not in text, name
        assert str(tmp_path) not in text, name
        if name != "report.csv":
            assert "m" in text


def test_no_name_turns_round_what_follows_it(tmp_path: Path) -> None:
    write_run(tmp_path / "ours", "a\u202ec\x1b[31m", verdicts(items=3))
    combine([tmp_path / "ours"], tmp_path / "out", ReportOptions(resamples=10))
    for name in FILES:
        text = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert not {"\x1b"} & set(text), name
    table = (tmp_path / "out" / "table.tex").read_text(encoding="utf-8")
    assert "ac\ufffd[31m" in table

    names = {tmp_path / "ours": "x\u2067y\x1b"}
    report = combine([tmp_path / "ours"], tmp_path / "out", ReportOptions(names=names))
    assert report.rows[0].model == "xy\ufffd"
