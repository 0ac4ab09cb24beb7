"""The network.

- `gpt`: the whole model in plain PyTorch, position encodings included
- `kv_cache`: keys and values of what was read
- `attention`, `dropout`, `norm`, `loss`: faster versions of these parts, each with a plain reference
- `documents`: attention that stays inside a document
- `parameters`: parameter counts from a config, before a model exists
- `lora`: fine-tuning by low-rank adapters
"""
