"""The server: one folder, for whoever has the token, under its own host name."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from spy_plugin.report.browser import BrowserServer, serve

Serve = Callable[..., BrowserServer]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "pages" / "data").mkdir(parents=True)
    (tmp_path / "pages" / "index.html").write_text("<title>pages</title>")
    (tmp_path / "pages" / "data" / "index.js").write_text("spy.receive()")
    (tmp_path / "pages" / "link.js").symlink_to(tmp_path / "secret.txt")
    return tmp_path / "pages"


def ask(
    server: BrowserServer, path: str, *, host: str = "", method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    """Ask for a path exactly as it is given."""
    parts = urlsplit(server.address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or parts.netloc)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def test_pages_are_served_below_the_token(served: Serve, folder: Path) -> None:
    server = served(folder)
    base = f"/{server.token}"
    assert server.address.startswith("http://127.0.0.1:")
    assert len(server.token) >= 32
    status, headers, body = ask(server, f"{base}/index.html")
    assert (status, body) == (200, b"<title>pages</title>")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert ask(server, f"{base}/data/index.js?v=1")[2] == b"spy.receive()"
    assert ask(server, f"{base}/")[2] == b"<title>pages</title>"
    assert ask(server, f"{base}/index.html", method="HEAD")[2] == b""


@pytest.mark.parametrize(
    "path", ["/", "/index.html", "/data/index.js", "/TOKEN", "/TOKEN/index.html", "/%2e/", "*"]
)
def test_without_the_token_all_is_refused(served: Serve, folder: Path, path: str) -> None:
    server = served(folder)
    status, _, body = ask(server, path.replace("TOKEN", server.token[:-1]))
    assert status == 403
    assert server.token.encode() not in body


@pytest.mark.parametrize("host", ["example.invalid", "example.invalid:80", "127.0.0.1", "[::1]:1"])
def test_another_host_name_is_refused(served: Serve, folder: Path, host: str) -> None:
    server = served(folder)
    assert ask(server, f"/{server.token}/index.html", host=host)[0] == 403


@pytest.mark.parametrize(
    "name",
    [
        "../secret.txt",
        "data/../../secret.txt",
        "%2e%2e/secret.txt",
        "/etc/passwd",
        "data",
        "link.js",
    ],
)
def test_nothing_outside_the_folder_is_served(served: Serve, folder: Path, name: str) -> None:
    server = served(folder)
    status, _, body = ask(server, f"/{server.token}/{name}")
    assert status == 404
    assert b"secret" not in body


def test_two_pages_may_ask_for_one_picture_at_a_time(
    served: Serve, folder: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (1500, 1000), (200, 0, 0)).save(tmp_path / "large.png")
    server = served(folder, {f"pictures/{k}.jpg": tmp_path / "large.png" for k in range(3)})
    with ThreadPoolExecutor(8) as pool:
        for k in range(3):
            path = f"/{server.token}/pictures/{k}.jpg"
            found = list(pool.map(lambda path: ask(server, path)[0], [path] * 8))
            assert found == [200] * 8


def test_the_address_that_a_browser_is_started_with_leads_to_the_page_once(
    served: Serve, folder: Path
) -> None:
    server = served(folder)
    assert server.token not in server.first_address
    path = urlsplit(server.first_address).path
    assert ask(server, path, host="example.invalid")[0] == 403
    assert ask(server, path, method="HEAD")[0] == 403
    status, headers, _ = ask(server, path)
    assert (status, headers["Location"]) == (303, f"/{server.token}/index.html")
    status, headers, body = ask(server, path)
    assert (status, headers.get("Location")) == (403, None)
    assert server.token.encode() not in body


def test_nothing_is_said_of_a_browser_that_has_gone(
    served: Serve, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise BrokenPipeError

    server = served(folder)
    monkeypatch.setattr(serve._Handler, "_answer", fail)
    with pytest.raises(http.client.RemoteDisconnected):
        ask(server, f"/{server.token}/index.html")
    assert capsys.readouterr().err == ""


def test_only_reading_is_possible(served: Serve, folder: Path) -> None:
    server = served(folder)
    assert ask(server, f"/{server.token}/index.html", method="POST")[0] == 501


def test_small_copies_of_pictures_are_made_when_asked_for(
    served: Serve, folder: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (2000, 1000), (200, 0, 0)).save(tmp_path / "large.png")
    (tmp_path / "broken.png").write_text("no picture")
    pictures = {
        f"pictures/{k}.jpg": tmp_path / f"{n}.png" for k, n in enumerate(["large", "broken"])
    }
    server = served(folder, pictures)
    for _ in range(2):
        status, headers, body = ask(server, f"/{server.token}/pictures/0.jpg")
        assert (status, headers["Content-Type"]) == (200, "image/jpeg")
        assert body.startswith(b"\xff\xd8")
    with Image.open(folder / "pictures" / "0.jpg") as picture:
        assert picture.size == (640, 320)
    assert ask(server, f"/{server.token}/pictures/1.jpg")[0] == 404
    assert ask(server, f"/{server.token}/pictures/2.jpg")[0] == 404
