"""A run as a GGUF file for llama.cpp, with a Modelfile for Ollama."""

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from nanogpt.config import ModelConfig, SampleConfig
from nanogpt.errors import UserError
from nanogpt.files import atomic_path, write_atomically
from nanogpt.interop.architectures import Architecture, export_tensors
from nanogpt.interop.formats import check_library_blocks, check_target
from nanogpt.interop.gguf.tensors import FILE_TYPES, Precision, encode, gguf_tensor_map, library, llama_architecture
from nanogpt.interop.gguf.vocabulary import MODEL, Vocabulary, to_vocabulary
from nanogpt.runs.run import Run
from nanogpt.runs.weights import model_tensors

if TYPE_CHECKING:
    from gguf import GGUFWriter


def export_gguf(run: Run, file: str | os.PathLike[str], precision: Precision = "f32") -> Path:
    """Write a run's model as `NAME.gguf` with `NAME.Modelfile`; return the GGUF file's path.

    Raises:
        UserError: One of the files exists, llama.cpp would compute the model differently, or the precision does not fit
            its sizes.

    >>> from nanogpt.interop.gguf.export import export_gguf
    >>> path = export_gguf(nanogpt.load(folder), "cats.gguf", "q8_0")
    >>> path.read_bytes()[:4], path.with_name("cats.Modelfile").read_text().split()[:2]
    (b'GGUF', ['FROM', './cats.gguf'])
    """
    path = Path(file)
    check_target(path, ".gguf")
    ollama = path.with_suffix(".Modelfile")
    check_target(ollama)
    check_library_blocks(run)
    model = run.config.model
    architecture = llama_architecture(model)
    vocabulary = to_vocabulary(run.tokenizer)
    weights = export_tensors(model_tensors(run.model), gguf_tensor_map(model, architecture))
    encoded = {name: encode(name, tensor.numpy(), precision) for name, tensor in weights.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as unfinished:
            with contextlib.closing(library().GGUFWriter(unfinished, architecture.model_type)) as writer:
                _add_model(writer, run, architecture, precision)
                _add_vocabulary(writer, vocabulary)
                for name, (data, kind) in encoded.items():
                    writer.add_tensor(name, data, raw_dtype=kind)
                writer.write_header_to_file()
                writer.write_kv_data_to_file()
                writer.write_tensors_to_file()
            write_atomically(ollama, modelfile(path.name, model, vocabulary).encode())
    except OSError as error:
        raise UserError(f"cannot write {str(path)!r}: {error.strerror}; choose another path") from None
    return path


def modelfile(name: str, model: ModelConfig, vocabulary: Vocabulary) -> str:
    """Return the Modelfile for `ollama create`: an unchanged prompt, and the sampling defaults of `nanogpt sample`."""
    defaults = SampleConfig()
    settings: dict[str, object] = {
        "num_ctx": model.block_size,
        "num_predict": max(1, model.block_size // 2),  # in a full context, Ollama drops the oldest tokens
        "temperature": defaults.temperature,
        "top_k": 0,
        "top_p": 1.0,
        "min_p": 0.0,
        "repeat_penalty": defaults.repetition_penalty,
    }
    if vocabulary.end in vocabulary.silent:
        settings["stop"] = f'"{vocabulary.tokens[vocabulary.end]}"'
    # With a chat template Ollama makes its own from the file's.
    template = [] if "chat_template" in vocabulary.imported else ['TEMPLATE "{{ .Prompt }}"']
    lines = [f"FROM ./{name}", *template, *(f"PARAMETER {key} {settings[key]}" for key in settings)]
    return "\n".join(lines) + "\n"


def _add_model(writer: "GGUFWriter", run: Run, architecture: Architecture, precision: Precision) -> None:
    """Write the model's settings, also those that llama.cpp has defaults for."""
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
    if architecture.model_type == "gpt2":
        writer.add_layer_norm_eps(model.norm_eps)
        return
    writer.add_layer_norm_rms_eps(model.norm_eps)
    writer.add_rope_freq_base(model.rope_theta)
    writer.add_rope_dimension_count(model.head_channels)


def _add_vocabulary(writer: "GGUFWriter", vocabulary: Vocabulary) -> None:
    """Write the tokens; as in `nanogpt sample`, nothing is added before or after a text."""
    kinds = library().TokenType
    types = [kinds.NORMAL] * len(vocabulary.tokens)
    for number in vocabulary.silent:
        # A program, or a chat template, can request these by name; the others match nothing. None is ever shown.
        types[number] = kinds.CONTROL if number in vocabulary.special else kinds.UNUSED
    for number in vocabulary.whole:
        types[number] = kinds.USER_DEFINED
    writer.add_tokenizer_model(MODEL)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(types)
    writer.add_token_merges(vocabulary.merges)
    if vocabulary.end is not None:
        ends = vocabulary.imported.get("eos_token_id", [])
        others = [one for one in (ends if isinstance(ends, list) else [ends]) if one != vocabulary.end]
        writer.add_bos_token_id(vocabulary.start)
        writer.add_eos_token_id(vocabulary.end)
        writer.add_eot_token_id([*others, vocabulary.end][0])  # the format has no list of them
    if "pad_token_id" in vocabulary.imported:
        writer.add_pad_token_id(vocabulary.imported["pad_token_id"])
    if "chat_template" in vocabulary.imported:
        writer.add_chat_template(vocabulary.imported["chat_template"])
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
