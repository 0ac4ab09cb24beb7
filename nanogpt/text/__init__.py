"""Read, chunk and tokenize text.

- `corpus`: find a text by name, file, folder, data set or standard input (the entry point)
- `sources`, `downloads`: texts that are not one file; those from the web
- `named_corpora`: Tiny Shakespeare and the Python standard library
- `records`: `.csv`, `.jsonl`, `.json`, `.parquet`, Hugging Face data sets, and input that can be read only once
- `formats`: `.html`, `.epub`, `.docx`, `.odt`, `.rtf`, `.pdf`, subtitles and mail
- `readers`: the reader for each ending of a file; folders and archives
- `chunks`: from bytes to a stream of chunks of text
- `cleaning`: leave out of a text what is not its own, such as a licence
- `scan`: hash, figures, alphabet, and where the validation part begins
- `tokenizer`: the base class of tokenizers, and the one of characters
- `bpe`: bytes, and byte-level BPE
- `foreign`: tokenizers of other projects, applied by Hugging Face's library
- `imported`: what came with such a tokenizer, kept for export: special tokens, chat template, stops
- `inspection`, `advice`: figures of a text before training, and what they mean
"""
