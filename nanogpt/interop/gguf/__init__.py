"""A GGUF file, which llama.cpp and Ollama open: written from a run (`export`), read back, and run by llama.cpp.

names        where the file keeps each weight, and which models llama.cpp computes as ours
vocabulary   our three kinds of tokenizer as a byte-level BPE
precision    number formats of the weights, and how near the logits come
export       the file, and a Modelfile beside it
reading      the weights as the file has them
llama        the file, opened by llama.cpp
"""
