"""A local server that implements the Batch API."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.models.faulty_server import KEY, completion


class BatchService:
    """Files and batches as in the API; `finish` processes what was submitted."""

    def __init__(self, server: HTTPServer) -> None:
        self.files: dict[str, str] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.refuse_batches = self.lose_reply = False
        self.url = server.url_for("/v1")
        for path, method, handle in (
            ("/v1/files", "POST", self.upload),
            ("/v1/batches", "POST", self.create),
            ("/v1/batches", "GET", self.list),
        ):
            server.expect_request(path, method=method).respond_with_handler(handle)
        server.expect_request(re.compile("/v1/batches/.+"), method="GET").respond_with_handler(
            lambda request: _json(self.batches[request.path.rpartition("/")[2]])
        )
        server.expect_request(re.compile("/v1/files/.+/content")).respond_with_handler(
            lambda request: Response(self.files[request.path.split("/")[3]])
        )

    def upload(self, request: Request) -> Response:
        assert request.form["purpose"] == "batch"
        assert request.headers["Authorization"] == f"Bearer {KEY}"
        return _json(self.store(request.files["file"].read().decode()))

    def store(self, text: str) -> dict[str, Any]:
        file_id = f"file-{len(self.files)}"
        self.files[file_id] = text
        return {
            "id": file_id,
            "object": "file",
            "bytes": len(text),
            "created_at": 1,
            "filename": "x.jsonl",
            "purpose": "batch",
            "status": "processed",
        }

    def create(self, request: Request) -> Response:
        if self.refuse_batches:
            return _json({"error": {"message": f"no credit for {KEY}"}}, 400)
        body = request.get_json()
        number = f"batch-{len(self.batches)}"
        self.batches[number] = body | {
            "id": number,
            "object": "batch",
            "created_at": 1,
            "status": "in_progress",
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
        }
        if self.lose_reply:
            return _json({"error": {"message": "the reply is lost"}}, 502)
        return _json(self.batches[number])

    def list(self, request: Request) -> Response:
        found = [*self.batches.values()]
        return _json({"object": "list", "data": found, "has_more": False})

    def requests(self) -> list[dict[str, Any]]:
        return [
            json.loads(line)
            for number in self.batches.values()
            for line in self.files[number["input_file_id"]].splitlines()
        ]

    def finish(self, result: Callable[[str], dict[str, Any] | None]) -> None:
        """Finish every batch; `result(prompt)` is the entry in the result file, or None."""
        for number in self.batches.values():
            if number["status"] != "in_progress":
                continue
            rows = []
            for line in self.files[number["input_file_id"]].splitlines():
                request = json.loads(line)
                found = result(prompt_of(request))
                if found is not None:
                    rows.append({"id": "r", "custom_id": request["custom_id"]} | found)
            text = "".join(json.dumps(row) + "\n" for row in reversed(rows))
            number["status"] = "completed"
            number["output_file_id"] = self.store(text)["id"]


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(body), status, content_type="application/json")


def answered(text: str) -> dict[str, Any]:
    body = json.loads(completion(text).body)
    return {"response": {"status_code": 200, "request_id": "q", "body": body}, "error": None}


def prompt_of(request: dict[str, Any]) -> str:
    """The text of a request's first message, without a picture."""
    content = request["body"]["messages"][0]["content"]
    if isinstance(content, str):
        return content
    return str(next(part["text"] for part in content if part["type"] == "text"))
