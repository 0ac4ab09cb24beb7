"""The names of tokens that have no text: other programs want a name for each."""

from typing import Any

from nanogpt.text.bpe import BpeTokenizer
from nanogpt.text.bpe_files import END_OF_TEXT
from nanogpt.text.foreign import ForeignTokenizer
from nanogpt.text.tokenizer import Tokenizer


def special_names(tokenizer: Tokenizer) -> dict[int, str]:
    """The names of the tokens without text, by id: none of them is the text of another token.

    >>> from nanogpt.text.tokenizer import CharTokenizer
    >>> special_names(CharTokenizer("abc"))
    {3: '<|endoftext|>'}
    """
    end = tokenizer.end_of_document
    if isinstance(tokenizer, ForeignTokenizer):
        added, known = tokenizer.tables["added_tokens"], set(tokenizer.tables["model"]["vocab"].values())
        rows = set(range(tokenizer.vocab_size)) - known - {one["id"] for one in added}  # of the model alone
        unused = {number: f"<|unused_{number}|>" for number in rows}
        return {one["id"]: one["content"] for one in added if one["special"]} | unused
    if isinstance(tokenizer, BpeTokenizer):
        silent = [number for number, token in enumerate(tokenizer.tokens) if token is None]
    else:
        silent = [] if end is None else [end]
    taken = set(tokenizer.tokens) if isinstance(tokenizer, BpeTokenizer) else set[str]()
    names = {number: END_OF_TEXT if number == end else f"<|unused_{number}|>" for number in silent}
    return {number: _free(name, taken) for number, name in names.items()}


def _free(name: str, taken: set[Any]) -> str:
    while name in taken:
        name = f"<{name}>"
    return name
