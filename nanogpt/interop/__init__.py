"""Export runs to other programs' formats, import their models, and check that an export gives the same answers.

architectures  what Qwen3 and GPT-2 can express, and where their files keep each of our weights
formats        what the export formats share
hugging_face   a folder for Transformers, and its import
gguf           a file for llama.cpp and Ollama
html           a page that runs the model in a browser
verify         every way to run a model, and every export, compared with plain torch
"""
