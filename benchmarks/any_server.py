"""Measure memory and pace of `spy-bench generate` over a full run against a server.

    python benchmarks/any_server.py [--samples 32700]

The server answers immediately, from a process of its own, so all time is spent in the asking: small
pictures, requests, replies, and the file of answers.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

from PIL import Image

from spy_plugin.benchmark.protocol import BUILTIN
from spy_plugin.benchmark.records import Answer, Scenario
from spy_plugin.benchmark.samples import Benchmark, Item
from spy_plugin.generation.generate import generate
from spy_plugin.models.base import Decoding
from spy_plugin.models.openai_model import OpenAIModel
from spy_plugin.models.options import ModelOptions
from spy_plugin.models.servers import Server
from spy_plugin.runs.answer_file import AnswerFile
from spy_plugin.runs.identity import describe_run

_PICTURES, _SAMPLES_AN_ITEM, _THOUSAND = 60, 5, 1000
_REPLY = json.dumps(
    {
        "model": "instant",
        "choices": [{"finish_reason": "stop", "message": {"content": "I see 12. " * 40}}],
        "usage": {"prompt_tokens": 500, "completion_tokens": 120},
    }
).encode()


class Instant(BaseHTTPRequestHandler):
    """Answers every request alike."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Read the request, send the reply."""
        self.rfile.read(int(self.headers["Content-Length"]))
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(_REPLY)}\r\n\r\n"
        self.wfile.write(head.encode() + _REPLY)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def serve(told: Connection) -> None:
    """Serve until the process is ended; tell the port first."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Instant)
    told.send(server.server_address[1])
    server.serve_forever()


def make_benchmark(items: int, root: Path) -> Benchmark:
    """A benchmark of its size, on a few small pictures."""
    for number in range(_PICTURES):
        Image.effect_noise((64, 64), 50).convert("RGB").save(root / f"{number}.jpg")
    scenarios = (Scenario("s0", 0, "At the gate: {}"),), (Scenario("s1", 1, "At home: {}"),)
    made = (
        Item(
            benchmark_id=f"{number:08}",
            label="a31_passport",
            other_labels=(),
            question_id=f"q{number}",
            image_path=f"{number * _PICTURES // items}.jpg",
            question=f"Which number has it ({number})?",
            gt="X",
            non_privacy_scenarios=scenarios[0],
            privacy_scenarios=scenarios[1],
        )
        for number in range(items)
    )
    return Benchmark("large", tuple(made), {"a31_passport": "passport"}, BUILTIN, root)


def memory() -> float:
    """Peak memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Answer all samples once; print memory and CPU time of the first and the last thousand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--samples", type=int, default=32_700)
    count = parser.parse_args().samples
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    process.start()
    url = f"http://127.0.0.1:{here.recv()}/v1"
    stamps: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        benchmark = make_benchmark(count // _SAMPLES_AN_ITEM, Path(folder))
        model = OpenAIModel("instant", Decoding(), Server(url, "none"), ModelOptions(timeout=60))
        samples = list(benchmark.samples())
        about = describe_run(benchmark, model, name="instant")
        file = AnswerFile(Path(folder) / "m_answers.jsonl", about, samples)
        began = time.monotonic()

        def progress(_: Answer) -> None:
            if len(file.records) % _THOUSAND == 0:
                stamps.append((time.process_time(), memory()))

        generate(samples, benchmark, model, file, progress=progress)
    process.terminate()
    first, last = stamps[1][0] - stamps[0][0], stamps[-1][0] - stamps[-2][0]
    print(f"{count:,} samples in {time.monotonic() - began:.0f} s")
    print(f"CPU time of the second thousand {first:.2f} s, of the last {last:.2f} s")
    print(f"memory after 1,000 {stamps[0][1]:.0f} MB, at the end {stamps[-1][1]:.0f} MB")


if __name__ == "__main__":
    main()
