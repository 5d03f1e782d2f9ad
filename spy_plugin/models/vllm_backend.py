"""A model that vLLM runs in this process: `spy-bench generate --backend vllm`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spy_plugin.benchmark.records import Outcome
from spy_plugin.models.base import Backend, Conversation, Decoding, Reply
from spy_plugin.models.pictures import load_ahead
from spy_plugin.models.vllm_engine import (
    Chat,
    Engine,
    Finished,
    Messages,
    check_parallel,
    require_vllm,
)

if TYPE_CHECKING:
    from PIL import Image

_OF_NO_EFFECT = frozenset(
    [
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "data_parallel_size",
        "distributed_executor_backend",
        "gpu_memory_utilization",
        "kv_cache_memory_bytes",
        "max_num_seqs",
        "max_num_batched_tokens",
        "block_size",
        "cpu_offload_gb",
        "enforce_eager",
        "enable_prefix_caching",
        "disable_log_stats",
        "mm_processor_cache_gb",
        "limit_mm_per_prompt",
        "download_dir",
        "load_format",
        "disable_custom_all_reduce",
        "hf_token",
    ]
)
"""Engine arguments that say where and how fast a model runs (and a key): not what it answers."""


class VLLMBackend(Backend):
    """Ask a vision-language model through its own chat template, continuously batched.

    Args:
        model: Path or repository id.
        engine_args: Arguments of `vllm.LLM`, for example ``{"tensor_parallel_size": 2}``, and
            ``chat_template`` (a file or the text) for a model without one.
        stop_token_ids: Token ids that end an answer beside the model's own.
        lora: Folder of an adapter inside the model's.

    Raises:
        MissingDependencyError: vLLM is not installed.
        ModelSetupError: the arguments ask for what one engine cannot do.
    """

    name = "vllm"

    def __init__(
        self,
        model: str,
        decoding: Decoding,
        *,
        engine_args: Mapping[str, Any] | None = None,
        stop_token_ids: Sequence[int] = (),
        lora: str = "",
    ) -> None:
        arguments = {"limit_mm_per_prompt": {"image": 1}} | dict(engine_args or {})
        self.model = model
        self.settings = {k: v for k, v in sorted(arguments.items()) if k not in _OF_NO_EFFECT}
        if stop_token_ids:
            self.settings["stop_token_ids"] = list(stop_token_ids)
        if lora:
            self.settings["lora"] = lora
        check_parallel(arguments)
        require_vllm()
        self._decoding, self._arguments = decoding, arguments
        self._stop_token_ids, self._lora = list(stop_token_ids), lora

    @cached_property
    def engine(self) -> Engine:
        """Loaded when first asked for: a run that has nothing to do loads nothing.

        Raises:
            ModelSetupError: vLLM cannot load the model.
        """
        return Engine(self.model, self._arguments, lora=self._lora)

    def answer(self, conversations: Iterable[Conversation]) -> Iterator[Reply]:
        """Yield a reply as soon as it is finished; a broken picture or a long prompt fails alone.

        Raises:
            ModelSetupError: vLLM cannot load the model, or its engine died.
        """
        with closing(load_ahead(conversations, open_picture)) as loaded:
            chats: Iterator[Chat] = (
                Chat(talk.sample_id, _messages(talk, picture)) for talk, picture in loaded
            )
            first = next(chats, None)
            if first is None:
                return
            chats = chain([first], chats)
            with closing(self.engine.run(chats, self._sampling())) as finished:
                for one in finished:
                    yield _reply(one)

    def close(self) -> None:
        """End the engine's processes."""
        engine = self.__dict__.pop("engine", None)  # as cached, if it was ever loaded
        if engine is not None:
            engine.close()

    def _sampling(self) -> Any:
        from vllm import SamplingParams

        # Ours, not those of the model's generation_config: greedy is greedy, without penalties.
        return SamplingParams(
            temperature=self._decoding.temperature,
            max_tokens=self._decoding.max_tokens,
            seed=self._decoding.seed,
            stop_token_ids=self._stop_token_ids,
        )


def open_picture(path: Path) -> Image.Image:
    """Decode a picture fully, as RGB.

    Raises:
        OSError: it cannot be read, or is no picture.
    """
    from PIL import Image

    try:
        with Image.open(path) as opened:
            picture: Image.Image = opened.convert("RGB")
            return picture
    except (SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise OSError(f"the picture does not decode ({error})") from error


def _messages(conversation: Conversation, picture: Future[Image.Image]) -> Callable[[], Messages]:
    # Named by its file, so that vLLM need not hash all its pixels again for each prompt.
    name = str(conversation.image)
    return lambda: conversation.messages(
        {"type": "image_pil", "image_pil": picture.result(), "uuid": name}
    )


def _reply(finished: Finished) -> Reply:
    return Reply(
        finished.key,
        text=finished.text,
        outcome=Outcome.FAILED if finished.error else None,
        error=finished.error,
        input_tokens=finished.input_tokens,
        output_tokens=finished.output_tokens,
    )
