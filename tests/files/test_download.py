"""Downloads resume, detect a changed file, and always verify TLS."""

from __future__ import annotations

import os
import random
import ssl
import subprocess
import sys
import types
from pathlib import Path

import pytest

from spy_plugin.errors import SpyBenchError
from spy_plugin.files import download as module
from spy_plugin.files.download import DownloadError, download, file_name, is_url
from tests.file_server import Served

CONTENT = random.Random(0).randbytes(3_000_000)


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record waiting times instead of waiting."""
    noted: list[float] = []
    monkeypatch.setattr(module.time, "sleep", noted.append)
    return noted


def test_a_file_comes_whole_and_is_not_fetched_again(served: Served, tmp_path: Path) -> None:
    served.files["/a.tar.gz"] = CONTENT
    for _ in range(2):
        assert download(f"{served.url}/a.tar.gz", tmp_path).read_bytes() == CONTENT
    assert served.ranges == [""]
    assert [p.name for p in tmp_path.iterdir()] == [file_name(f"{served.url}/a.tar.gz")]


def test_a_dropped_connection_goes_on_where_it_stopped(served: Served, tmp_path: Path) -> None:
    served.files["/a"] = CONTENT
    served.drop_after = [1_000_000, 500_000]
    assert download(f"{served.url}/a", tmp_path).read_bytes() == CONTENT
    assert served.ranges == ["", "bytes=1000000-", "bytes=1500000-"]


def test_a_later_run_goes_on_where_a_killed_one_stopped(served: Served, tmp_path: Path) -> None:
    served.files["/a"] = CONTENT
    code = (
        "import os, sys, pathlib\n"
        "from spy_plugin.files import download as d\n"
        "d.time.sleep = lambda s: os._exit(9)\n"
        "d.download(sys.argv[1], pathlib.Path(sys.argv[2]))\n"
    )
    served.drop_after = [1_234_567]
    killed = subprocess.run([sys.executable, "-c", code, f"{served.url}/a", str(tmp_path)])
    assert killed.returncode == 9
    assert download(f"{served.url}/a", tmp_path).read_bytes() == CONTENT
    assert served.ranges == ["", "bytes=1234567-"]


def test_a_file_that_changed_meanwhile_is_fetched_anew(served: Served, tmp_path: Path) -> None:
    served.files["/a"] = bytes(3_000_000)
    served.drop_after = [1_000_000]

    def change(_: float) -> None:
        served.files["/a"], served.etag = CONTENT, '"two"'

    module.time.sleep = change  # type: ignore[attr-defined]
    assert download(f"{served.url}/a", tmp_path).read_bytes() == CONTENT


def test_without_a_validator_nothing_is_pieced_together(served: Served, tmp_path: Path) -> None:
    served.files["/a"], served.etag = CONTENT, ""
    served.drop_after = [1_000_000]
    assert download(f"{served.url}/a", tmp_path).read_bytes() == CONTENT
    assert served.ranges == ["", ""]


def test_a_busy_server_is_asked_again(served: Served, tmp_path: Path, waits: list[float]) -> None:
    served.files["/a"], served.statuses = CONTENT, [503, 429]
    assert download(f"{served.url}/a", tmp_path).read_bytes() == CONTENT
    assert waits == [1.0, 2.0]


def test_a_missing_file_is_said_at_once(served: Served, tmp_path: Path) -> None:
    served.statuses = [404]
    with pytest.raises(DownloadError, match=r"HTTP 404 .*give its path"):
        download(f"{served.url}/a", tmp_path)


def test_a_dead_server_is_given_up_and_the_part_kept(
    served: Served, tmp_path: Path, waits: list[float]
) -> None:
    served.files["/a"], served.drop_after = CONTENT, [1000]
    served.statuses = []
    real_sleep = waits.append

    def die(seconds: float) -> None:
        real_sleep(seconds)
        served.statuses = [500]

    module.time.sleep = die  # type: ignore[attr-defined]
    with pytest.raises(DownloadError, match=r"1,000 bytes are kept\. Run the same command again"):
        download(f"{served.url}/a", tmp_path)
    assert len(waits) == module.ATTEMPTS - 1


@pytest.mark.parametrize("etag", ['"one"', ""])
def test_an_interrupt_between_attempts_says_what_is_kept_if_it_can_be_used(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture, etag: str
) -> None:
    served.files["/a"], served.etag = CONTENT, etag
    served.drop_after = [1_000_000]

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    module.time.sleep = interrupt  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        download(f"{served.url}/a", tmp_path)
    assert ("1000000 bytes are kept in" in caplog.text) == bool(etag)
    assert download(f"{served.url}/a", tmp_path).read_bytes() == CONTENT
    assert served.ranges == ["", "bytes=1000000-" if etag else ""]


def test_a_web_page_in_place_of_a_file_is_refused(served: Served, tmp_path: Path) -> None:
    served.files["/a"], served.content_type = b"<html>sign in</html>", "text/html; charset=utf-8"
    with pytest.raises(DownloadError, match="is a web page"):
        download(f"{served.url}/a", tmp_path)


@pytest.mark.parametrize("length", ["", "abc", "-5", "\u00b2", "9" * 30])
def test_a_file_of_unknown_size_comes_whole(served: Served, tmp_path: Path, length: str) -> None:
    served.files["/a"], served.headers = CONTENT, {"Content-Length": length}
    assert download(f"{served.url}/a", tmp_path).read_bytes() == CONTENT


def test_a_file_of_unknown_size_stops_before_the_disk_is_full(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shutil import _ntuple_diskusage, disk_usage

    room = 2**28 + 1_500_000

    def usage(folder: Path) -> object:
        taken = sum(path.stat().st_size for path in tmp_path.iterdir())
        return _ntuple_diskusage(*disk_usage(folder)[:2], room - taken)

    monkeypatch.setattr("shutil.disk_usage", usage)
    monkeypatch.setenv("SPY_BENCH_HOME", str(tmp_path))
    served.files["/a"], served.headers = CONTENT, {"Content-Length": ""}
    with pytest.raises(SpyBenchError, match="SPY_BENCH_HOME"):
        download(f"{served.url}/a", tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1_500_000


@pytest.mark.parametrize("wait", ["\u00b2", "soon", "-3", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_an_odd_retry_after_is_left_out(
    served: Served, tmp_path: Path, waits: list[float], wait: str
) -> None:
    served.files["/a"], served.statuses = CONTENT, [503]
    served.headers = {"Retry-After": wait}
    download(f"{served.url}/a", tmp_path)
    assert waits == [1.0]


def test_a_redirect_to_an_odd_address_ends_with_the_address_that_was_asked(
    served: Served, tmp_path: Path
) -> None:
    served.statuses, served.location = [302], "http://[bad/x.zip"
    with pytest.raises(DownloadError, match=rf"{served.url}/a .*redirects"):
        download(f"{served.url}/a", tmp_path)


@pytest.mark.parametrize("url", ["http://[bad/x.zip", "http://a b/x.zip", "http://x:port/y"])
def test_an_address_that_is_not_valid_is_said_at_once(
    tmp_path: Path, waits: list[float], url: str
) -> None:
    with pytest.raises(DownloadError, match="not a valid URL"):
        download(url, tmp_path)
    assert waits == []


def test_a_range_that_was_not_asked_for_is_not_written(served: Served, tmp_path: Path) -> None:
    served.statuses, served.headers = [206] * 6, {"Content-Range": "bytes x-y/z"}
    with pytest.raises(DownloadError, match=r"another range than requested.* to try again"):
        download(f"{served.url}/a", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_not_the_servers_failure(
    served: Served, tmp_path: Path, waits: list[float]
) -> None:
    served.files["/a"] = CONTENT
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(SpyBenchError, match=r"taken.*cannot be written.*SPY_BENCH_HOME"):
        download(f"{served.url}/a", tmp_path / "taken" / "below")
    assert waits == []


def test_redirects_are_followed(served: Served, tmp_path: Path) -> None:
    served.files["/b"] = CONTENT
    served.statuses, served.location = [302], f"{served.url}/b"
    assert download(f"{served.url}/a", tmp_path).read_bytes() == CONTENT


def test_https_never_redirects_to_http() -> None:
    request = module.urllib.request.Request("https://example.org/a")
    with pytest.raises(DownloadError, match="is not https"):
        module._NoDowngrade().redirect_request(request, None, 302, "", {}, "http://example.org/a")


def test_tls_is_verified_even_where_the_default_was_switched_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ssl, "_create_default_https_context", ssl._create_unverified_context)
    handlers = module._opener().handlers
    https = next(h for h in handlers if isinstance(h, module.urllib.request.HTTPSHandler))
    assert https._context.verify_mode is ssl.CERT_REQUIRED
    assert https._context.check_hostname


def test_a_process_that_imported_a_host_does_not_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vlmeval", types.ModuleType("vlmeval"))
    with pytest.raises(SpyBenchError, match="TLS verification off"):
        download("http://127.0.0.1:9/a", tmp_path)


def test_only_web_addresses_are_fetched() -> None:
    assert is_url("https://example.org/a.tar.gz")
    assert not any(map(is_url, ("file:///etc/passwd", "ftp://x/y", "a/b", r"C:\x", os.sep)))
