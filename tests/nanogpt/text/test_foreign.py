"""Tokenizers of others: applied unchanged if their rule is known, else refused with the reason."""

import json

import numpy as np
import pytest
from tiny import refuses
from vocabularies import END, TOKENS, TOOL, added, llama_tables, qwen_tables, smollm_tables

from nanogpt.text.foreign import ForeignTokenizer
from nanogpt.text.tokenizer import UnknownCharacters, dump_tokenizer, parse_tokenizer


def model(**changes):
    return qwen_tables()["model"] | changes


def test_ids_text_and_bytes():
    tokenizer = ForeignTokenizer(qwen_tables(), 271, END)
    assert (tokenizer.vocab_size, tokenizer.end_of_document) == (271, END)
    assert tokenizer.encode("the the").tolist() == [TOKENS.index("t"), TOKENS.index("he"), TOKENS.index("Ġthe")]
    assert tokenizer.encode("e\u0301").tolist() == tokenizer.encode("é").tolist()  # NFC, as Qwen has it
    assert tokenizer.encode("<tool>").tolist() == [TOOL]
    assert len(tokenizer.encode("<|endoftext|>")) == 13  # input never ends a text
    assert tokenizer.decode([TOKENS.index("Ġthe"), END, TOOL, 270]) == " the<tool>"
    sizes = tokenizer.token_bytes()
    assert (len(sizes), sizes[END], sizes[TOKENS.index("Ġthe")], sizes[TOOL], sizes[270]) == (271, 0, 4, 6, 0)


def test_it_survives_its_file():
    tokenizer = ForeignTokenizer(qwen_tables(), 271, END)
    again = parse_tokenizer(dump_tokenizer(tokenizer), "tokenizer.json")
    assert again.to_dict() == tokenizer.to_dict()
    text = "The cat's 1234 cafés\r\n\n  漢字 🙂"
    assert np.array_equal(again.encode(text), tokenizer.encode(text))
    assert again.decode(again.encode(text)) == text


def test_truncation_and_padding_are_off():
    cut = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    fill = {"strategy": {"Fixed": 99}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0}
    tables = qwen_tables(truncation=cut, padding=fill | {"pad_type_id": 0, "pad_token": "!"})
    assert len(ForeignTokenizer(tables, 271, END).encode("a b c d e")) == 9


SMOLLM = smollm_tables()["pre_tokenizer"]


def with_part(number, **changes):
    parts = list(SMOLLM["pretokenizers"])
    parts[number] = parts[number] | changes
    return SMOLLM | {"pretokenizers": parts}


@pytest.mark.parametrize(
    ("tables", "pieces"),
    [
        (qwen_tables(), ["It", "'s", " ", "1", "2", "3", "4", " ", " is", "!\n"]),
        (llama_tables(), ["It", "'s", " ", "123", "4", " ", " is", "!\n"]),
        (smollm_tables(), ["It", "'s", " ", "1", "2", "3", "4", " ", " is", "!", "\n"]),
    ],
)
def test_each_rule_splits_as_its_model_does(tables, pieces):
    tokenizer = ForeignTokenizer(tables, 271, END + 1)
    text = "".join(pieces)
    found = [text[start:end] for _, (start, end) in tokenizer._library.pre_tokenizer.pre_tokenize_str(text)]
    assert found == pieces


def test_a_word_that_is_a_token_although_no_merges_lead_to_it():
    assert ForeignTokenizer(llama_tables(), 271, END + 1).encode("a hello").tolist() == [TOKENS.index("a"), END]


def test_bytes_that_a_vocabulary_lacks():
    tokenizer = ForeignTokenizer(smollm_tables(), 271, 0)
    with pytest.raises(UnknownCharacters, match=r"'.U00040000': leave it out"):  # which the server answers with 400
        tokenizer.encode("é \U00040000")
    ids = tokenizer.encode("\U00040000 the", "skip")
    assert b"".join(tokenizer.bytes_by_id[one] for one in ids) == b"\x80\x80\x80 the"  # as Transformers does
    assert tokenizer.decode(tokenizer.encode("é 漢 🙂")) == "é 漢 🙂"


def test_the_library_must_give_added_tokens_the_ids_of_the_file():
    tables = qwen_tables(added_tokens=[added(END + 1, "<|endoftext|>", True)])
    refuses(lambda: ForeignTokenizer(tables, 271, END), "<|endoftext|>", f"{END + 1}", "download")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"model": model(type="WordPiece")}, "model is WordPiece"),
        ({"model": model(dropout=0.1)}, "dropout 0.1"),
        ({"model": model(unk_token="<unk>")}, "unk_token '<unk>'"),
        ({"normalizer": {"type": "NFKC"}}, "more than NFC"),
        ({"decoder": None}, "not bytes"),
        ({"pre_tokenizer": None}, "splits text by None"),
        ({"model": model(vocab={"a": -1}), "added_tokens": []}, "lacks bytes of plain English"),
        ({"pre_tokenizer": {**SMOLLM, "pretokenizers": SMOLLM["pretokenizers"][:1]}}, "splits text by Digits"),
        ({"pre_tokenizer": with_part(0, individual_digits=False)}, "not a known pattern"),
        ({"pre_tokenizer": with_part(1, use_regex=False)}, "not a known pattern"),
        ({"pre_tokenizer": with_part(1, add_prefix_space=True)}, "space before every text"),
        ({"added_tokens": [added(END, "<x>", False) | {"lstrip": True}]}, "white space"),
    ],
)
def test_refused_with_the_reason(changed, words):
    refuses(lambda: ForeignTokenizer(qwen_tables(**changed), 271, END), words)


@pytest.mark.parametrize(
    ("size", "end", "words"),
    [(TOOL, END, f"up to {TOOL}"), (1 << 20, END, "262,144"), (271, 271, "271 is none of 271")],
)
def test_ids_that_the_model_lacks(size, end, words):
    refuses(lambda: ForeignTokenizer(qwen_tables(), size, end), words)


@pytest.mark.parametrize("changed", [{"tokenizer": 3}, {"vocab_size": "271"}, {"tokenizer": {"model": []}}])
def test_a_damaged_file(changed):
    whole = json.loads(dump_tokenizer(ForeignTokenizer(qwen_tables(), 271, END)))
    refuses(lambda: parse_tokenizer(json.dumps(whole | changed), "tokenizer.json"), "tokenizer.json")
