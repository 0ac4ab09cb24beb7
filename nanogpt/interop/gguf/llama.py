"""A GGUF file opened by llama.cpp, through `llama-cpp-python`: on the CPU, with keys and values kept in float32."""

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
from nanogpt.interop.opened import CannotRun

GGML_TYPE_F32 = 0


class LlamaCpp:
    """An exported model in llama.cpp (`nanogpt.interop.opened.Opened`).

    llama.cpp rounds a context up to a multiple of its own, and ends the process where positions run out: the limits are
    kept here.
    """

    def __init__(self, file: str | os.PathLike[str], block_size: int, threads: int = 1) -> None:
        """Open a file. Raises CannotRun without `llama-cpp-python`, UserError for a file that llama.cpp refuses."""
        try:
            from llama_cpp import Llama
        except (ImportError, OSError, RuntimeError):  # the last two for a compiled part that does not load
            raise CannotRun(
                "llama.cpp is not here: pip install 'nanogpt[llama]' (it is compiled, which takes some minutes)"
            ) from None
        self.block_size = block_size
        check_plain(Path(file))
        try:
            # Of its warnings one is of every small model: its context is rounded up beyond what was trained.
            with contextlib.redirect_stderr(io.StringIO()):
                self._llama = Llama(
                    str(file),
                    n_gpu_layers=0,
                    n_ctx=block_size,
                    n_threads=threads,
                    n_threads_batch=threads,
                    seed=1337,
                    logits_all=True,
                    flash_attn=False,
                    type_k=GGML_TYPE_F32,
                    type_v=GGML_TYPE_F32,
                    verbose=False,
                )
        except ValueError as error:
            raise UserError(f"llama.cpp cannot open {str(file)!r} ({error}): export it anew") from None

    def logits(self, ids: Sequence[int]) -> Tensor:
        """Logits (T, V), float32, of the tokens after each of ids; T from 1 to block_size."""
        self._check(ids, len(ids))
        self._llama.reset()
        self._llama.eval(list(ids))
        return torch.from_numpy(self._llama.scores[: len(ids)].copy())

    def greedy(self, ids: Sequence[int], tokens: int) -> list[int]:
        """So many of the likeliest tokens after ids, one after another; all that is read is inside block_size."""
        self._check(ids, len(ids) + tokens - 1)
        self._llama.reset()
        found, new = list[int](), list(ids)
        for _ in range(tokens):
            self._llama.eval(new)
            new = [int(np.argmax(self._llama.scores[self._llama.n_tokens - 1]))]
            found += new
        return found

    def encode(self, text: str) -> list[int]:
        """Token ids (T,) of a text, in which nothing is taken for a special token."""
        return list(self._llama.tokenize(text.encode("utf-8", "replace"), add_bos=True, special=False))

    def close(self) -> None:
        """Let go of the model's memory."""
        self._llama.close()

    def _check(self, ids: Sequence[int], length: int) -> None:
        """Raise UserError for what llama.cpp would end the process for."""
        size = self._llama.n_vocab()
        if not ids or not 0 <= min(ids) <= max(ids) < size:
            raise UserError(f"token ids must be from 0 to {size - 1}, one at least")
        if length > self.block_size:
            raise UserError(f"{length} tokens are longer than block_size {self.block_size}: take fewer")
