"""Speed and memory of turning a large text into token ids: `char`, `byte` and `bpe`.

    python -m benchmarks.large_text --gigabytes 5

The text is paragraphs of a real one, drawn repeatedly, every tenth with a sentence in another script; it is in the page
cache. Each preparation is that of `nanogpt train` with an empty cache, in its own process with torch imported. Memory
is the highest sum of RssAnon (without mapped files and the page cache) of the process and its children, on Linux. For
`bpe` also the speed of Hugging Face's `tokenizers` alone with the same vocabulary, in memory, in documents of 64 KiB.
"""

import json
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

from benchmarks.processes import python_call
from benchmarks.record import new_parser, parse
from nanogpt.config import DataConfig
from nanogpt.data.tokenize import tokenize
from nanogpt.text.chunks import cut_chunks
from nanogpt.text.corpus import Corpus, load_corpus
from nanogpt.text.tokenizer import Tokenizer, train_tokenizer

KINDS = get_args(get_type_hints(DataConfig)["tokenizer"])
OTHER_SCRIPTS = (
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "色は匂へど散りぬるを我が世誰ぞ常ならむ",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. 🙂",
)
SAMPLE_SECONDS = 0.05


def main() -> None:
    """Write the text, prepare it by each tokenizer, print and record."""
    parser = new_parser(__doc__, gigabytes=5.0, bpe_gigabytes=0.5, tokenizers=KINDS)
    parser.add_argument("--library-megabytes", type=int, default=200, help="length of the text for `tokenizers` alone")
    parser.add_argument("--folder", help="folder for the text and its ids; needs three times its size")
    options, parts = parse(parser, "large_text", parts=False)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        rows = {}
        for kind in options.tokenizers:
            gigabytes = options.bpe_gigabytes if kind == "bpe" else options.gigabytes
            file = Path(folder) / f"{gigabytes}.txt"
            if not file.exists():
                write_text(file, int(gigabytes * 1e9))
            rows[kind] = measure(kind, file, options.library_megabytes)
    parts.write({"text": load_corpus().name, "tokenizers": rows})


def write_text(path: Path, size: int) -> None:
    """Write a text of at least `size` bytes."""
    paragraphs = load_corpus().text.split("\n\n")
    draw = random.Random(1337)
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < size:
            draw.shuffle(paragraphs)
            for number in range(0, len(paragraphs), 10):
                some = [*paragraphs[number : number + 10], draw.choice(OTHER_SCRIPTS)]
                file.write("\n\n".join(some) + "\n\n")


def measure(kind: str, text: Path, library_megabytes: int) -> dict[str, Any]:
    """Measure one tokenizer: speeds in MB of UTF-8 per second, memory in MB."""
    found = run_child(text.parent, prepare_once, kind, str(text))
    size = text.stat().st_size / 1e6
    row = {
        "megabytes": size,
        "megabytes_per_second": size / found["seconds"],
        "megabytes_per_second_per_core": size / found["processor_seconds"],
        "encode_megabytes_per_second_per_core": size / found["encode_processor_seconds"],
        **found,
    }
    if kind == "bpe":
        row["library"] = run_child(text.parent, library_alone, kind, str(text), library_megabytes)
    return row


def run_child(folder: Path, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """Call a function in a fresh process with an empty cache; return its result and its highest memory."""
    command = python_call(function, *arguments)
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        environment = os.environ | {"NANOGPT_CACHE": cache}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
            peak = 0
            while child.poll() is None:
                peak = max(peak, sum(map(anonymous_memory, descendants(child.pid))))
                time.sleep(SAMPLE_SECONDS)
            printed, _ = child.communicate()
    if child.returncode:
        raise SystemExit(f"{function.__name__}{arguments} failed")
    result: dict[str, Any] = json.loads(printed)
    return result | {"peak_anonymous_megabytes": peak / 1e3}


def descendants(process: int) -> list[int]:
    """Return a process and all that descend from it."""
    found = [process]
    for one in found:
        for listed in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += map(int, listed.read_text(encoding="ascii").split())
            except OSError:
                continue  # the thread has ended
    return found


def anonymous_memory(process: int) -> int:
    """Return RssAnon in kB; 0 for a process that has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def prepare_once(kind: str, text: str) -> dict[str, Any]:
    """Prepare a text as `nanogpt train` does; return the seconds, and those of all processors."""
    import nanogpt.training.trainer  # noqa: F401  (with torch, as when a training reads its text)

    began, processors = time.perf_counter(), time.process_time()
    corpus = load_corpus(text)
    tokenizer = tokenizer_for(kind, corpus)
    before = time.process_time()
    data = tokenize(corpus, tokenizer, quiet=True)
    return {
        "seconds": time.perf_counter() - began,
        "processor_seconds": time.process_time() - processors,
        "encode_processor_seconds": time.process_time() - before,
        "vocabulary": tokenizer.vocab_size,
        "tokens": len(data.train) + len(data.val),
    }


def tokenizer_for(kind: str, corpus: Corpus) -> Tokenizer:
    """Return a tokenizer with the text's alphabet, or with merges learned from its training part."""
    if kind == "bpe":
        return train_tokenizer(kind, (chunk.text for chunk in cut_chunks(corpus.split(quiet=True)[0])))
    return train_tokenizer(kind, [corpus.scan(quiet=True).alphabet])


def library_alone(kind: str, text: str, library_megabytes: int) -> dict[str, Any]:
    """Return the speed of `tokenizers` on a text in memory, with the vocabulary that ours learns."""
    from tokenizers import Tokenizer as Library
    from tokenizers import models, pre_tokenizers

    tables = tokenizer_for(kind, load_corpus(text)).to_dict()
    vocabulary = {token: number for number, token in enumerate(tables["tokens"]) if token is not None}
    merges = [tuple(merge.split(" ")) for merge in tables["merges"]]
    library = Library(models.BPE(vocab=vocabulary, merges=merges))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    with Path(text).open("rb") as file:
        data = file.read(library_megabytes * 1_000_000).decode("utf-8", "ignore")
    documents = [data[start : start + (1 << 16)] for start in range(0, len(data), 1 << 16)]
    size, tokens = len(data.encode()) / 1e6, 0
    began, processors = time.perf_counter(), time.process_time()
    for start in range(0, len(documents), 64):
        tokens += sum(len(one.ids) for one in library.encode_batch_fast(documents[start : start + 64]))
    return {
        "megabytes": size,
        "megabytes_per_second": size / (time.perf_counter() - began),
        "megabytes_per_second_per_core": size / (time.process_time() - processors),
        "tokens": tokens,
    }


if __name__ == "__main__":
    main()
