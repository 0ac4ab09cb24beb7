"""A folder of Transformers, opened by Transformers."""

import os
from collections.abc import Sequence

import torch
from torch import Tensor

from nanogpt.errors import UserError
from nanogpt.interop.opened import CannotRun


class TransformersModel:
    """An exported model in Transformers (`nanogpt.interop.opened.Opened`), without a network and without its code."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Open a folder. Raises CannotRun without Transformers, UserError for a folder that it refuses."""
        try:
            from transformers import AutoModelForCausalLM, AutoTokenizer
            from transformers.utils import logging
        except ImportError:
            raise CannotRun("Transformers is not here: pip install 'nanogpt[hf]'") from None
        logging.disable_progress_bar()  # of reading a small file
        local = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, dtype="float32", **local)
            self._tokenizer = AutoTokenizer.from_pretrained(folder, **local)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise UserError(
                f"Transformers cannot open {os.fspath(folder)!r} ({str(error).splitlines()[0]}): export it anew"
            ) from None
        self._model.eval()
        self._model.generation_config.eos_token_id = None  # to go on after it, as the other side does

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> Tensor:
        """Logits (T, V), float32, of the tokens after each of ids."""
        found: Tensor = self._model(torch.tensor([list(ids)])).logits[0]
        return found.float()

    @torch.no_grad()
    def greedy(self, ids: Sequence[int], tokens: int) -> list[int]:
        """So many of the likeliest tokens after ids, also after one that ends a text."""
        idx = torch.tensor([list(ids)])
        found = self._model.generate(idx, attention_mask=torch.ones_like(idx), do_sample=False, max_new_tokens=tokens)
        new: list[int] = found[0, len(ids) :].tolist()
        return new

    def encode(self, text: str) -> list[int]:
        """Token ids (T,) of a text."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        return ids

    def close(self) -> None:
        """Nothing is held."""
