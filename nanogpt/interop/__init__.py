"""Models in others' formats, and others' models in ours.

families        what Qwen3 and GPT-2 can express (qwen3, gpt2), and where they keep each of our weights (places)
special         names of the tokens that have no text
hugging_face    a folder that Transformers opens, and back
gguf            a file that llama.cpp opens
html            a page that runs its model in any browser
proof           each of them held against the run
"""
