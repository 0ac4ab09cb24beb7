"""nanoGPT's `generate` with random weights: a script for a process that imports nanoGPT's own `model`.

    PYTHONPATH=CHECKOUT python generate_script.py SIZES STREAMS TOKENS

Prints as JSON the seconds that the tokens took, after a few to warm up. Temperature as in its sample.py.
"""

import json
import sys
import time

import torch


def main() -> None:
    """Generate and print."""
    from model import GPT, GPTConfig  # type: ignore[import-not-found]

    sizes, streams, tokens = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.manual_seed(1337)
    model = GPT(GPTConfig(**sizes, dropout=0.0, bias=False)).eval()
    prompt = torch.zeros(streams, 1, dtype=torch.long)
    model.generate(prompt, 8, temperature=0.8)
    began = time.perf_counter()
    model.generate(prompt, tokens, temperature=0.8)
    print(json.dumps({"seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
