"""vLLM's engine in this process, fed as there is room: no batch waits for its slowest prompt.

`LLM.chat` takes all prompts at once and gives all answers at the end. Here its own preprocessing
(chat template, tokenizer, pictures) makes one prompt at a time, and the engine is stepped between:
prompts may come from a long lazy iterable, and each answer is yielded as soon as it is finished.
A thread makes the prompts, so that the engine is not kept waiting for them.
"""

from __future__ import annotations

import importlib.util
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from spy_plugin.benchmark.records import Outcome
from spy_plugin.compat.torchvision import declare_missing_ops
from spy_plugin.errors import MissingDependencyError
from spy_plugin.files.text import one_line
from spy_plugin.models.base import ModelSetupError, Reply
from spy_plugin.models.engine_arguments import parallel_sizes
from spy_plugin.models.repositories import load_hint
from spy_plugin.models.vllm_cpu import fit_to_cores
from spy_plugin.models.watchdog import Watch

Messages = list[dict[str, Any]]

Chat = tuple[str, Callable[[], Messages]]
"""A conversation's key, and a function that makes its messages when there is room.

An `OSError` or `ValueError` that the function raises fails this conversation alone.
"""

_WAITING = 32
"""Prompts made ready beyond those that the engine runs at a time, so that it never idles."""


class Engine:
    """A model loaded by vLLM.

    Args:
        model: Path or repository id.
        arguments: Arguments of `vllm.LLM`, and ``chat_template``: a file, or the template itself.
        lora: Folder of an adapter that every prompt goes through.

    Raises:
        MissingDependencyError: vLLM is not installed.
        ModelSetupError: vLLM cannot load the model with these arguments.
    """

    def __init__(
        self, model: str, arguments: Mapping[str, Any] | None = None, *, lora: str = ""
    ) -> None:
        chosen = {"enable_prefix_caching": True} | dict(arguments or {})
        self._template = _template_text(chosen.pop("chat_template", None))
        check_parallel(chosen)
        require_vllm()
        declare_missing_ops()  # vLLM's models import torchvision
        from vllm import LLM

        if lora:
            chosen = {"enable_lora": True, "max_lora_rank": 320} | chosen
        self._watch = Watch()
        try:
            with fit_to_cores(chosen) as fitting:
                self.llm = LLM(model=model, **fitting)
        except (ValueError, TypeError, OSError, RuntimeError) as error:
            self._watch.close()
            raise ModelSetupError(
                f"vLLM cannot load {model} ({type(error).__name__}: {one_line(error)}). "
                f"{load_hint(str(error), model)} See vLLM's own messages above."
            ) from error
        self._watch.settle()
        self._engine = self.llm.llm_engine
        # Public until it was renamed; what it takes and gives has stayed.
        self._preprocess = getattr(self.llm, "preprocess_chat", None) or self.llm._preprocess_chat
        self._lora = _lora_request(model, lora) if lora else None
        self._window = self._engine.vllm_config.scheduler_config.max_num_seqs + _WAITING
        self._count = 0
        self._try_template(model)

    def run(self, chats: Iterable[Chat], sampling: Any) -> Generator[Reply, None, None]:
        """Yield each chat's reply as soon as it is finished, in any order.

        Args:
            chats: Drawn from as there is room.
            sampling: `vllm.SamplingParams`; only the final output is made, not the partial ones.

        Raises:
            ModelSetupError: the engine died; what was yielded before stands.
        """
        from vllm.sampling_params import RequestOutputKind

        sampling.output_kind = RequestOutputKind.FINAL_ONLY
        source = iter(chats)
        prepared: deque[tuple[str, Future[Any]]] = deque()
        running: dict[str, str] = {}  # request -> key; the chat's picture is not kept
        more = True
        # One thread only: vLLM's cache of pictures wants prompts in the order of their making.
        thread = ThreadPoolExecutor(1, thread_name_prefix="prompts")
        try:
            while more or prepared or running:
                while more and len(prepared) + len(running) < self._window:
                    chat = next(source, None)
                    more = chat is not None
                    if chat is not None:
                        prepared.append((chat[0], thread.submit(self._prompt, chat[1])))
                while prepared and (prepared[0][1].done() or not running):
                    failed = self._add(*prepared.popleft(), sampling, running)
                    if failed is not None:
                        yield failed
                for output in self._step() if running else ():
                    if output.finished:
                        yield _reply(running.pop(output.request_id), output)
        finally:
            thread.shutdown(cancel_futures=True)
            if running:
                self._engine.abort_request(list(running))

    def close(self) -> None:
        """End the engine's processes and free its memory."""
        core = getattr(self._engine, "engine_core", None)
        if core is not None:
            core.shutdown()
        self._watch.close()

    def _prompt(self, messages: Callable[[], Messages]) -> Any:
        (prompt,) = self._render(messages())
        return prompt

    def _add(
        self, key: str, prompt: Future[Any], sampling: Any, running: dict[str, str]
    ) -> Reply | None:
        """Hand a prompt to the engine; one that it cannot take comes back failed."""
        self._count += 1
        request = f"chat-{self._count}"
        try:
            # A copy, because the engine notes in it what belongs to one request.
            self._engine.add_request(
                request, prompt.result(), sampling.clone(), lora_request=self._lora
            )
        except _one_prompt_errors() as error:
            text = f"{type(error).__name__}: {one_line(error)}"
            return Reply(key, outcome=Outcome.FAILED, error=text)
        running[request] = key
        return None

    def _render(self, messages: Messages) -> Any:
        return self._preprocess([messages], chat_template=self._template)

    def _step(self) -> list[Any]:
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            outputs: list[Any] = self._engine.step()
        except EngineDeadError as error:
            raise ModelSetupError(
                "vLLM's engine has died; its own messages above say why. Run the same command "
                "again to resume; if memory ran out, lower max_num_seqs or max_model_len in "
                "--engine-args."
            ) from error
        return outputs

    def _try_template(self, model: str) -> None:
        """Check before the first sample that the model's chat template works at all."""
        try:
            self._render([{"role": "user", "content": "?"}])
        except _one_prompt_errors() as error:
            raise ModelSetupError(
                f"{model} cannot be asked in chat form ({one_line(error)}). "
                """Give a template: --engine-args '{"chat_template": "FILE.jinja"}'."""
            ) from error


def require_vllm() -> None:
    """Check that vLLM is installed, without the ten seconds that its import takes.

    Raises:
        MissingDependencyError: it is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise MissingDependencyError("vllm", "vllm")


def check_parallel(arguments: Mapping[str, Any]) -> None:
    """Refuse sizes that are not numbers, and data parallelism inside one engine.

    Raises:
        ModelSetupError: saying what to do instead.
    """
    parallel_sizes(arguments)
    size = arguments.get("data_parallel_size", 1)
    if size != 1 and arguments.get("distributed_executor_backend") != "external_launcher":
        raise ModelSetupError(
            f"data_parallel_size={size}: vLLM's engine inside one process does not do this. Use "
            "--ray local --engines N; or run --shard 1/N to N/N, each on its own GPUs "
            "(CUDA_VISIBLE_DEVICES), and put them together with spy-bench merge; or start vllm "
            "serve --data-parallel-size N and use --backend openai."
        )


def _reply(key: str, output: Any) -> Reply:
    said = output.outputs[0]
    finished = said.finish_reason in ("stop", "length")
    return Reply(
        key,
        text=said.text if finished else "",
        outcome=None if finished else Outcome.FAILED,
        error="" if finished else f"the engine gave the prompt up ({said.finish_reason})",
        finish_reason=str(said.finish_reason),
        input_tokens=len(output.prompt_token_ids or ()),
        output_tokens=len(said.token_ids),
    )


def _one_prompt_errors() -> tuple[type[Exception], ...]:
    """The errors of a broken picture, a prompt that is too long or a strict chat template."""
    from jinja2 import TemplateError

    try:
        from vllm.exceptions import VLLMClientError
    except ImportError:  # an older vLLM raises ValueError
        return (OSError, ValueError, TemplateError)
    return (OSError, ValueError, TemplateError, VLLMClientError)


def _template_text(template: str | None) -> str | None:
    if template is None or "{" in template:
        return template
    try:
        return Path(template).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelSetupError(
            f"the chat template {template} cannot be read ({error}). Give a file, or the text."
        ) from error


def _lora_request(model: str, lora: str) -> Any:
    from vllm.lora.request import LoRARequest

    folder = Path(model)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(model, allow_patterns=[f"{lora}/*"]))
    return LoRARequest(Path(lora).name, 1, str(folder / lora))
