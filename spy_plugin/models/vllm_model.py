"""A model that vLLM runs in this process, continuously batched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any

from spy_plugin.data.pictures import open_rgb
from spy_plugin.models.base import Conversation, Decoding, Model, ModelSetupError, Reply
from spy_plugin.models.engine_arguments import text_settings
from spy_plugin.models.pictures import load_ahead
from spy_plugin.models.repositories import split_revision
from spy_plugin.models.vllm_engine import (
    Chat,
    Engine,
    Messages,
    check_parallel,
    require_vllm,
)

if TYPE_CHECKING:
    from PIL import Image


class VLLMModel(Model):
    """Ask a model through its own chat template.

    Args:
        model: Path or repository id, perhaps with ``@`` and a revision.
        engine_args: Arguments of `vllm.LLM`, for example ``{"tensor_parallel_size": 2}``, and
            ``chat_template`` (a file or the text) for a model without one.
        pictures: How many a conversation may have; 0 for text only.
        stop_token_ids: Token ids that end an answer beside the model's own.
        lora: Folder of an adapter inside the model's.

    Raises:
        MissingDependencyError: vLLM is not installed.
        ModelSetupError: the arguments ask for what one engine cannot do.
    """

    backend = "vllm"

    def __init__(
        self,
        model: str,
        decoding: Decoding,
        *,
        engine_args: Mapping[str, Any] | None = None,
        pictures: int = 1,
        stop_token_ids: Sequence[int] = (),
        lora: str = "",
    ) -> None:
        # Not for text models, of which some versions of vLLM refuse the argument.
        limit = {"limit_mm_per_prompt": {"image": pictures}} if pictures else {}
        path, revision = split_revision(model)
        pinned = {"revision": revision, "tokenizer_revision": revision} if revision else {}
        arguments = limit | pinned | dict(engine_args or {})
        self.model, self.decoding = model, decoding
        self.settings = text_settings(self.backend, arguments)
        if stop_token_ids:
            self.settings["stop_token_ids"] = list(stop_token_ids)
        if lora:
            self.settings["lora"] = lora
        if decoding.structured is not None and decoding.structured.form != "choice":
            raise ModelSetupError(
                f"structured is {decoding.structured.form!r}. Use choice with vllm, or leave it "
                "out."
            )
        check_parallel(arguments)
        require_vllm()
        self._path, self._arguments = path, arguments
        self._stop_token_ids, self._lora = list(stop_token_ids), lora

    @cached_property
    def engine(self) -> Engine:
        """Loaded when first asked: a run that has nothing to do loads nothing.

        Raises:
            ModelSetupError: vLLM cannot load the model.
        """
        return Engine(self._path, self._arguments, lora=self._lora)

    def _ask(self, conversations: Iterable[Conversation]) -> Iterator[Reply]:
        """Yield each reply once it is finished; a broken picture or a long prompt fails alone.

        Raises:
            ModelSetupError: vLLM cannot load the model, or its engine died.
        """
        with closing(load_ahead(conversations, open_rgb)) as loaded:
            for words, group in groupby(loaded, key=lambda one: one[0].words):
                chats: Iterator[Chat] = (
                    (conversation.key, _messages(conversation, picture))
                    for conversation, picture in group
                )
                with closing(self.engine.run(chats, self._sampling(words))) as replies:
                    yield from replies

    def load(self) -> None:
        """Start the engine."""
        _ = self.engine

    def close(self) -> None:
        """End the engine's processes."""
        engine = self.__dict__.pop("engine", None)  # as cached, if it was ever loaded
        if engine is not None:
            engine.close()

    def _sampling(self, words: Sequence[str]) -> Any:
        """The engine's sampling parameters; see `Conversation` for the words."""
        from vllm import SamplingParams

        more: dict[str, Any] = {}
        if self.decoding.structured is not None:
            from vllm.sampling_params import StructuredOutputsParams

            choice = list(words or self.decoding.structured.words)
            more["structured_outputs"] = StructuredOutputsParams(choice=choice)
        # Ours, not those of the model's generation_config: greedy is greedy, without penalties.
        return SamplingParams(
            temperature=self.decoding.temperature,
            max_tokens=self.decoding.max_tokens,
            seed=self.decoding.seed,
            stop_token_ids=self._stop_token_ids,
            **more,
        )


def _messages(
    conversation: Conversation, picture: Future[Image.Image] | None
) -> Callable[[], Messages]:
    if picture is None:
        return lambda: conversation.messages(None)
    # Named by its file, so that vLLM need not hash all its pixels again for each prompt.
    name = str(conversation.image)
    return lambda: conversation.messages(
        {"type": "image_pil", "image_pil": picture.result(), "uuid": name}
    )
