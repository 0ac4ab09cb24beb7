"""Text from a model.

- `generate`: prompts in, text out, several rows at once
- `decoder`: one position through the model, quickly
- `filters`: from logits to a token
- `precision`: weights in bfloat16 or int8
"""
