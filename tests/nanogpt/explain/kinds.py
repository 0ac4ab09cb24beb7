"""Tiny models of every kind that can be inspected."""

import copy
import math

import torch
from tiny import tiny_model

from nanogpt.config import ModelConfig
from nanogpt.model.gpt import GPT
from nanogpt.text.tokenizer import CharTokenizer

KINDS = {
    "lecture": ("lecture", {}),
    "gpt2": ("gpt2", {}),
    "modern": ("modern", {}),
    "the paper's": ("lecture", {"norm_position": "post", "position": "sinusoidal", "activation": "relu"}),
    "post-norm rope": ("modern", {"norm_position": "post"}),
    "grouped": ("modern", {"n_head": 6, "n_kv_head": 2, "n_layer": 3}),
    "one key": ("gpt2", {"n_head": 5, "n_kv_head": 1, "qkv_bias": True}),
    "as GPT-2": ("gpt2", {"qkv_bias": True, "tie_embeddings": True, "activation": "gelu_tanh", "head_size": 7}),
    "as Qwen3": ("modern", {"n_head": 4, "n_kv_head": 2, "qk_norm": True, "rope_theta": 1e6, "tie_embeddings": True}),
    "biased": ("gpt2", {"head_bias": True, "bias": True, "qkv_bias": True, "qk_norm": True, "norm": "rms"}),
    "masked": ("modern", {"mask_documents": True, "document_token": 5}),
    "masked, learned": ("gpt2", {"mask_documents": True, "document_token": 5, "n_head": 4, "n_kv_head": 2}),
    "one layer": ("modern", {"n_layer": 1, "n_head": 1, "head_size": 2}),
}
IDS = [3, 5, 31, 2, 5, 7, 36]
"""Token 5 opens a document."""
LETTERS = CharTokenizer("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ")
"""36 characters and the end-of-document token: 37."""


def model_of(kind, **settings):
    preset, parts = KINDS[kind]
    return tiny_model(preset, **parts | settings)


def model_by_hand():
    """One head of 2 channels on a stream without positions or a norm before it; three tokens, (1, 0), (0, 1), (1, 1).

    Keys and values are the tokens, queries sqrt(2) ln 2 times them, so that a score is ln 2 for each channel that two
    tokens share.
    """
    sizes = {"vocab_size": 3, "block_size": 5, "n_layer": 1, "n_head": 1, "n_embd": 2}
    model = GPT(ModelConfig(**sizes, norm_position="post", bias=False, mlp_hidden=3)).eval()
    one = torch.eye(2)
    with torch.no_grad():
        model.token_embedding.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        model.position_embedding.weight.zero_()
        model.blocks[0].attention.qkv.weight.copy_(torch.cat([math.sqrt(2) * math.log(2) * one, one, one]))
        model.blocks[0].attention.proj.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 5.0]]))
    return model


def heads_of(model):
    return [(layer, head) for layer in range(model.config.n_layer) for head in range(model.config.n_head)]


def without(model, off):
    """A copy in which a head's columns of the projection are zero."""
    model = copy.deepcopy(model)
    for layer, head in off:
        attention = model.blocks[layer].attention
        attention.proj.weight.data[:, head * attention.head_size : (head + 1) * attention.head_size] = 0
    return model


@torch.no_grad()
def logits_of(model, ids):
    return model(torch.tensor([ids]))[0]


def hook_count(model):
    return sum(len(one._forward_hooks) + len(one._forward_pre_hooks) for one in model.modules())


def check_left_alone(model, call):
    """A call gives the same again, leaves no hook and no mode behind, and ignores dropout."""
    first = call(model.train())
    assert first == call(model)
    assert hook_count(model) == 0
    assert all(module.training for module in model.modules())
    assert first == call(model.eval())
