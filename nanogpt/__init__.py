"""Nano-GPT: build a GPT in ten sections, then train one on your own text."""
