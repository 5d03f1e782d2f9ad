"""Missing data of the host are named before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from spy_plugin.errors import SpyBenchError
from spy_plugin.hosts.reachable import why_unreachable
from spy_plugin.hosts.vlmeval import general_data
from spy_plugin.hosts.vlmeval.general_data import check_general_data
from tests.conftest import needs

NOWHERE = "http://127.0.0.1:9/data/{}.tsv"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The host's folder of data, and a server of them that is away."""
    monkeypatch.setattr(general_data, "_folder", lambda: tmp_path)
    monkeypatch.setattr(general_data, "_address", NOWHERE.format)
    return tmp_path


def test_missing_data_without_a_network_are_one_line_that_says_what_to_do(folder: Path) -> None:
    with pytest.raises(SpyBenchError) as caught:
        check_general_data(["SPYBench_MINI", "MMMU_DEV_VAL"])
    said = str(caught.value)
    assert f"the data of MMMU_DEV_VAL are missing: {folder}/MMMU_DEV_VAL.tsv" in said
    assert "127.0.0.1:9, from which VLMEvalKit downloads it, cannot be reached" in said
    assert "Connection refused" in said
    assert "leave MMMU_DEV_VAL out of --data" in said
    assert "\n" not in said


def test_data_that_are_here_are_not_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "MME.tsv").touch()
    (folder / "old.tsv").touch()
    check_general_data(["MME", "SPYBench", "SPYBench_MINI_SELF_MOD"])
    monkeypatch.setattr(general_data, "_address", lambda name: "http://127.0.0.1:9/old.tsv")
    check_general_data(["OCRBench"])


def test_a_data_set_whose_address_is_unknown_is_left_to_the_host(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(general_data, "_address", lambda name: "")
    check_general_data(["Another"])


def test_an_address_that_is_not_a_url_is_a_reason() -> None:
    """As of HF_ENDPOINT=foo."""
    assert why_unreachable("foo/bar") == "unknown url type: 'foo/bar'"


@pytest.mark.parametrize("status", [200, 403, 404])
def test_a_server_that_answers_is_left_to_the_host(
    status: int, folder: Path, monkeypatch: pytest.MonkeyPatch, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/MME.tsv", method="HEAD").respond_with_data("", status=status)
    monkeypatch.setattr(general_data, "_address", lambda name: httpserver.url_for("/MME.tsv"))
    check_general_data(["MME"])


@needs("vlmeval")
def test_the_hosts_own_addresses_are_found() -> None:
    from spy_plugin.compat.torchvision import declare_missing_ops

    declare_missing_ops()
    for name in ("MMMU_DEV_VAL", "OCRBench", "MME"):
        assert general_data._address(name).endswith(f"/{name}.tsv")
    assert general_data._address("no-such-data") == ""
