"""A GGUF file opened by llama.cpp, through `llama-cpp-python`: on the CPU, with keys and values in float32."""

import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nanogpt.errors import UserError
from nanogpt.files import check_plain
from nanogpt.interop.formats import MissingProgram

GGML_TYPE_F32 = 0


class LlamaCpp:
    """An exported model in llama.cpp. Inputs are checked, because llama.cpp ends the process on an invalid one."""

    def __init__(self, file: str | os.PathLike[str], block_size: int, threads: int = 1) -> None:
        """Open a file; raise MissingProgram without `llama-cpp-python`, UserError if llama.cpp refuses it."""
        try:
            from llama_cpp import Llama
        except (ImportError, OSError, RuntimeError):  # the last two: its compiled part does not load
            raise MissingProgram(
                "llama.cpp is not installed: pip install 'nanogpt[llama]' (compiling it takes some minutes)"
            ) from None
        self.block_size = block_size
        check_plain(Path(file))
        try:
            # For every small model it warns that the context, rounded up, is longer than it was trained for.
            with contextlib.redirect_stderr(io.StringIO()):
                self._llama = Llama(
                    str(file), n_gpu_layers=0, n_ctx=block_size, n_threads=threads, n_threads_batch=threads, seed=1337,
                    logits_all=True, flash_attn=False, type_k=GGML_TYPE_F32, type_v=GGML_TYPE_F32, verbose=False,
                )  # fmt: skip
        except ValueError as error:
            raise UserError(f"llama.cpp cannot open {str(file)!r} ({error}): export it again") from None

    def logits(self, ids: Sequence[int]) -> Tensor:
        """Return the logits of the token after each of ids, float32, shape (T, V); T is from 1 to block_size."""
        self._check(ids, len(ids))
        self._llama.reset()
        self._llama.eval(list(ids))
        return torch.from_numpy(self._llama.scores[: len(ids)].copy())

    def greedy(self, ids: Sequence[int], tokens: int) -> list[int]:
        """Return the next `tokens` tokens after ids, always the likeliest; what is read must fit in block_size."""
        self._check(ids, len(ids) + tokens - 1)
        self._llama.reset()
        found, new = list[int](), list(ids)
        for _ in range(tokens):
            self._llama.eval(new)
            new = [int(np.argmax(self._llama.scores[self._llama.n_tokens - 1]))]
            found += new
        return found

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, in which nothing counts as a special token."""
        return list(self._llama.tokenize(text.encode("utf-8", "replace"), add_bos=True, special=False))

    def close(self) -> None:
        """Free the model's memory."""
        self._llama.close()

    def _check(self, ids: Sequence[int], length: int) -> None:
        """Raise UserError for input that would make llama.cpp end the process."""
        size = self._llama.n_vocab()
        if not ids or not 0 <= min(ids) <= max(ids) < size:
            raise UserError(f"give at least one of the token ids 0 to {size - 1}")
        if length > self.block_size:
            raise UserError(f"{length} tokens exceed block_size {self.block_size}: give fewer")
