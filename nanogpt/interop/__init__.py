"""Models in others' formats, and others' models in ours.

families           what Qwen3 and GPT-2 can express, and where they keep each of our weights
hugging_face       a folder that Transformers opens, and back
"""
