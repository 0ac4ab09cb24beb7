"""GGUF files for llama.cpp and Ollama: written from a run, read back, and run by llama.cpp.

export      the file, and a Modelfile for Ollama
tensors     tensor names, number formats of the weights, and how close llama.cpp's logits are
vocabulary  our tokenizers as a byte-level BPE
reading     the weights of a file
llama       a file opened by llama.cpp
"""
