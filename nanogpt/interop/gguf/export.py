"""A run as a GGUF file, which llama.cpp opens without any code of ours, and a Modelfile for Ollama beside it."""

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from nanogpt.config import ModelConfig, SampleConfig
from nanogpt.errors import UserError
from nanogpt.files import replacing, write_atomically
from nanogpt.interop.family import Family
from nanogpt.interop.gguf.names import family_for_llama, library, places
from nanogpt.interop.gguf.precision import FILE_TYPES, Precision, encode
from nanogpt.interop.gguf.vocabulary import MODEL, Vocabulary, to_vocabulary
from nanogpt.interop.places import to_theirs
from nanogpt.interop.writing import check_library_blocks, check_new
from nanogpt.runs.run import Run
from nanogpt.runs.weights import model_tensors

if TYPE_CHECKING:
    from gguf import GGUFWriter


def export_gguf(run: Run, file: str | os.PathLike[str], precision: Precision = "f32") -> Path:
    """Write a run's model as a GGUF file, with `NAME.Modelfile` beside `NAME.gguf`; returns the file's path.

    The Modelfile has the file's name, so that several precisions of a model can stand in one folder. Raises UserError
    where one of the two exists, where llama.cpp would compute the model otherwise, or where the precision does not fit
    its sizes. A file is written whole or not at all.

    >>> from nanogpt.interop.gguf.export import export_gguf
    >>> path = export_gguf(nanogpt.load(folder), "cats.gguf", "q8_0")
    >>> path.read_bytes()[:4], path.with_name("cats.Modelfile").read_text().split()[:2]
    (b'GGUF', ['FROM', './cats.gguf'])
    """
    path = Path(file)
    check_new(path, ".gguf")
    beside_it = path.with_suffix(".Modelfile")
    check_new(beside_it)
    check_library_blocks(run)
    model = run.config.model
    family = family_for_llama(model)
    vocabulary = to_vocabulary(run.tokenizer)
    weights = to_theirs(model_tensors(run.model), places(model, family))
    encoded = {name: encode(name, tensor.numpy(), precision) for name, tensor in weights.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as unfinished:
            with contextlib.closing(library().GGUFWriter(unfinished, family.MODEL_TYPE)) as writer:
                _describe(writer, run, family, precision)
                _describe_tokens(writer, vocabulary)
                for name, (data, kind) in encoded.items():
                    writer.add_tensor(name, data, raw_dtype=kind)
                writer.write_header_to_file()
                writer.write_kv_data_to_file()
                writer.write_tensors_to_file()
            write_atomically(beside_it, modelfile(path.name, model, vocabulary).encode())
    except OSError as error:
        raise UserError(f"cannot write {str(path)!r}: {error.strerror}; choose another place") from None
    return path


def modelfile(name: str, model: ModelConfig, vocabulary: Vocabulary) -> str:
    """What `ollama create` reads: the prompt goes in as it is, and text is drawn as `nanogpt sample` draws it.

    An answer is half a context long at most. Beyond the context Ollama drops what is oldest, where Nano-GPT reads its
    newest half anew.
    """
    drawn = SampleConfig()
    settings: dict[str, object] = {
        "num_ctx": model.block_size,
        "num_predict": max(1, model.block_size // 2),
        "temperature": drawn.temperature,
        "top_k": 0,
        "top_p": 1.0,
        "min_p": 0.0,
        "repeat_penalty": drawn.repetition_penalty,
    }
    if vocabulary.end in vocabulary.silent:
        settings["stop"] = f'"{vocabulary.tokens[vocabulary.end]}"'
    lines = [f"FROM ./{name}", 'TEMPLATE "{{ .Prompt }}"', *(f"PARAMETER {key} {settings[key]}" for key in settings)]
    return "\n".join(lines) + "\n"


def _describe(writer: "GGUFWriter", run: Run, family: Family, precision: Precision) -> None:
    """The architecture. What llama.cpp would take by default is written too."""
    model = run.config.model
    writer.add_type("model")
    writer.add_name(f"A GPT of {run.plan.text}")
    writer.add_file_type(FILE_TYPES[precision])
    writer.add_quantization_version(library().GGML_QUANT_VERSION)
    writer.add_vocab_size(model.vocab_size)
    writer.add_context_length(model.block_size)
    writer.add_embedding_length(model.n_embd)
    writer.add_block_count(model.n_layer)
    writer.add_feed_forward_length(model.hidden)
    writer.add_head_count(model.n_head)
    writer.add_head_count_kv(model.kv_heads)
    writer.add_key_length(model.head_channels)
    writer.add_value_length(model.head_channels)
    if family.MODEL_TYPE == "gpt2":
        writer.add_layer_norm_eps(model.norm_eps)
        return
    writer.add_layer_norm_rms_eps(model.norm_eps)
    writer.add_rope_freq_base(model.rope_theta)
    writer.add_rope_dimension_count(model.head_channels)


def _describe_tokens(writer: "GGUFWriter", vocabulary: Vocabulary) -> None:
    """The vocabulary. Nothing is put before or after a text, as `nanogpt sample` puts nothing there."""
    kinds = library().TokenType
    types = [kinds.NORMAL] * len(vocabulary.tokens)
    for number in vocabulary.silent:
        # The end can be asked for by its name; the others are never matched in a text, and never shown.
        types[number] = kinds.CONTROL if number == vocabulary.end else kinds.UNUSED
    for number in vocabulary.whole:
        types[number] = kinds.USER_DEFINED
    writer.add_tokenizer_model(MODEL)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(types)
    writer.add_token_merges(vocabulary.merges)
    if vocabulary.end is not None:
        writer.add_bos_token_id(vocabulary.end)
        writer.add_eos_token_id(vocabulary.end)
        writer.add_eot_token_id(vocabulary.end)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
