"""The estimate of memory, held against what torch really keeps; against peaks of processes in `benchmarks.memory`."""

import pytest
import torch
from tiny import PRESETS, tiny_config, token_ids

from nanogpt.data.dataset import Dataset
from nanogpt.model import attention, loss
from nanogpt.model.parameters import Parameters, count_parameters
from nanogpt.planning import memory as planned
from nanogpt.planning.memory import Memory, estimate_memory, kept_bytes
from nanogpt.training.step import Stepper, build_model

SIZES = {"n_layer": 3, "n_head": 6, "n_embd": 84, "head_size": None, "mlp_hidden": None, "block_size": 44}


def really_kept(config):
    """Bytes that a forward pass keeps, each storage once, but for the model's own."""
    ids = token_ids(500, vocab_size=config.model.vocab_size).numpy()
    stepper = Stepper(build_model(config), config.train, Dataset(train=ids, val=ids, key="k"))
    kept, alive = {}, []

    def pack(tensor):
        alive.append(tensor)  # or its place would be given to another
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        stepper._loss(stepper.forward, 0, range(config.train.batch_size))
    own = {t.untyped_storage().data_ptr() for t in (*stepper.model.parameters(), *stepper.model.buffers())}
    return sum(size for place, size in kept.items() if place not in own)


OPTIONS = [
    {},
    {"dropout": 0.1, "attention_dropout": 0.0},
    {"dropout": 0.1, "attention_dropout": 0.1},
    {"n_kv_head": 2},
    {"norm_position": "post"},
    {"vocab_size": 1009},
    {"activation": "gelu"},
    {"position": "learned", "qk_norm": False},
    {"block_size": 173},
    {"block_size": 173, "precision": "float32"},
    {"precision": "float32"},
]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_what_is_kept_is_counted(preset, options):
    config = tiny_config(preset, batch_size=7, **SIZES | {"precision": "bfloat16"} | options)
    half = config.train.precision == "bfloat16"
    counted = kept_bytes(config.model, 7 * config.model.block_size, half)
    assert 0.98 <= counted / really_kept(config) <= 1.08


def test_by_hand():
    config = tiny_config(optimizer="muon", batch_size=3, accumulation=5)
    count = count_parameters(config.model)
    memory = estimate_memory(config)
    assert count == Parameters(
        matrices=2 * (13 * 3 * 30 + 30 * 13 + 13 * 2 * 17 + 17 * 13), rest=2 * (2 * 13 + 2 * 10) + 2 * 37 * 13 + 13
    )
    assert memory.weights == memory.gradients == 4 * count.total
    assert memory.optimizer == 4 * (count.matrices + 2 * count.rest)
    assert memory.evaluation == 8192 * 4 * max(2 * 13 + 4 * 17, 13 + 2 * 37)
    assert estimate_memory(config.override(optimizer="adamw")).optimizer == 8 * count.total


def test_the_peak_is_what_lies_side_by_side():
    parts = {"process": 1, "weights": 2, "gradients": 4, "optimizer": 8}
    assert Memory(**parts, activations=100, evaluation=50, update=3).peak == 165
    assert Memory(**parts, activations=100, evaluation=50, update=300).peak == 365


def test_a_larger_batch_block_or_model_takes_more_and_accumulation_none():
    config = tiny_config(n_layer=3, batch_size=64, precision="float32")
    peak = estimate_memory(config).peak
    for name, value in {"batch_size": 128, "block_size": 97, "n_layer": 7, "n_embd": 103}.items():
        assert estimate_memory(config.override(**{name: value})).peak > peak, name
    assert estimate_memory(config.override(accumulation=9)).peak == peak
    assert estimate_memory(config, half=True).peak < peak


def test_several_processes_share_a_batch_and_under_fsdp_the_weights():
    config = tiny_config(batch_size=64)
    alone, four = estimate_memory(config), estimate_memory(config, processes=4)
    divided = estimate_memory(config.override(parallel="fsdp"), processes=4)
    assert four.activations * 4 == pytest.approx(alone.activations, rel=1e-6)
    assert (four.weights, divided.weights) == (alone.weights, alone.weights // 4)


def test_a_gpu_does_not_hold_the_process():
    assert estimate_memory(tiny_config(), "cuda").process == 0


def test_its_pieces_are_those_of_the_library():
    assert planned.PIECE_QUERIES == attention.PIECE_QUERIES
    assert planned.GPU_PIECE_LOGITS == loss.GPU_PIECE_LOGITS


@pytest.mark.parametrize(("batch_size", "piece"), [(2, 2 * 4 * 2 * 44 * 50_257), (50, 2 * 4 * 2**26), (300, 0)])
def test_a_gpus_loss_takes_a_piece_of_the_logits_twice_in_float32(batch_size, piece):
    """Where that is more than the scaled gradient of all, which takes its place later."""
    config = tiny_config(**SIZES, vocab_size=50_257, batch_size=batch_size)
    tokens = batch_size * 44
    kept = kept_bytes(config.model, tokens, half=True, on_cpu=False)
    counted = estimate_memory(config, "cuda", half=True).activations - int(1.1 * kept)
    each = 2 * tokens * 50_257
    assert counted == each + max(each, piece)
