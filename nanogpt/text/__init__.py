"""Read, chunk and tokenize text.

- `corpus`: find a text by its name or file, and read it (the entry point)
- `sources`: texts that are not one file: folders, standard input, web addresses, data sets
- `downloads`: texts from the web, fetched once
- `named_corpora`: Tiny Shakespeare and the Python standard library
- `records`: `.csv`, `.jsonl`, `.json`, `.parquet`, Hugging Face data sets, and input that can be read only once
- `formats`: `.html`, `.epub`, `.docx`, `.rtf`, `.pdf`, subtitles and mail
- `readers`: the reader for each ending of a file; folders and archives
- `cleaning`: remove a publisher's licence, headers, page numbers and copies
- `chunks`: from bytes to a stream of chunks of text
- `scan`: documents, hash, figures, alphabet, and what is held out
- `tokenizer`: the base class of tokenizers, and the one of characters
- `bpe`: bytes, and byte-level BPE
- `foreign`: tokenizers of other projects, applied by Hugging Face's library
- `imported`: what came with such a tokenizer, kept for export: special tokens, chat template, stops
- `inspection`, `advice`: figures of a text before training, and what they mean
"""
