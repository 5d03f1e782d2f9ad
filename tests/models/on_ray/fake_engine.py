"""An engine without weights, slow, mortal and honest; run as a program, `spy-bench` with it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from spy_plugin.data.pictures import open_rgb
from spy_plugin.models import transformers_model
from spy_plugin.models.base import Conversation, Decoding, Model, ModelSetupError, Reply
from spy_plugin.models.options import ModelOptions


class FakeEngine(Model):
    """Replies with what it was asked. Takes the place of `TransformersModel`.

    Of its `engine_args`: ``delay``, seconds a reply takes; ``loading``, seconds until it is loaded;
    ``pids``, a folder in which each engine leaves a file with its GPUs, called by its process's
    number; ``poison``, the name of a picture that kills it; ``broken``, what it says when it cannot
    be loaded; ``slow``, a file that makes it slow while it exists; ``mortal``, it dies as soon as
    it is asked.
    """

    backend = "transformers"

    def __init__(self, model: str, decoding: Decoding, options: ModelOptions | None = None) -> None:
        self.model, self.decoding, self.settings = model, decoding, {}
        self.arguments = dict(options.engine_args) if options else {}

    def load(self) -> None:
        if "broken" in self.arguments:
            raise ModelSetupError(self.arguments["broken"])
        time.sleep(self.arguments.get("loading", 0))
        if "pids" in self.arguments:
            devices = os.environ.get("CUDA_VISIBLE_DEVICES", "")
            (Path(self.arguments["pids"]) / str(os.getpid())).write_text(devices)

    def _ask(self, conversations: Iterable[Conversation]) -> Iterator[Reply]:
        for conversation in conversations:
            if self.arguments.get("mortal"):
                sys.stderr.write("out of imaginary memory\n")
                sys.stderr.flush()
                time.sleep(0.5)  # as if it had tried
                os.kill(os.getpid(), signal.SIGKILL)
            if Path(str(conversation.image)).name == self.arguments.get("poison"):
                os.kill(os.getpid(), signal.SIGKILL)
            if conversation.image is not None:
                open_rgb(conversation.image)
            time.sleep(self.arguments.get("delay", 0))
            slow = self.arguments.get("slow")
            time.sleep(0.4 if slow and Path(slow).exists() else 0)
            yield Reply(conversation.key, said(conversation))


def said(conversation: Conversation) -> str:
    """What the engine replies to a conversation."""
    return f"{conversation.image}: {conversation.turns}"


if __name__ == "__main__":
    from spy_plugin.cli.main import main
    from tests.models.on_ray.fake_engine import FakeEngine as Importable

    transformers_model.TransformersModel = Importable  # type: ignore[misc, assignment]
    sys.exit(main())
