// The decoder, one token at a time, with a key-value cache. Same parts, names and order as nanogpt/model.py.
//
// Shapes: C channels, H heads, K heads of keys and values, D channels of a head, F channels inside the feed-forward
// network, V vocabulary, S positions so far.
"use strict";

// The rates at which the channels of a position turn: base^(-2i/size), each step rounded to 32 bits as torch does. At
// position 4,000 an angle is known to 0.0002 only, and a more exact one is another than the model was trained with.
function rates(base, size) {
  return Float32Array.from({ length: Math.ceil(size / 2) }, (_, i) => base ** Math.fround((-2 * i) / size));
}

class Decoder {
  // config: of nanogpt.config.ModelConfig; tensors: by the names that nanogpt.model.GPT gives them.
  constructor(config, tensors) {
    this.config = config;
    this.tensors = tensors;
    this.blockSize = config.block_size;
    this.length = 0; // positions read so far, S
    this.H = config.n_head;
    this.K = config.n_kv_head ?? this.H;
    this.D = config.head_size ?? config.n_embd / this.H;
    const C = config.n_embd, width = this.K * this.D;
    this.blocks = Array.from({ length: config.n_layer }, (_, layer) => this.block(`blocks.${layer}.`));
    this.keys = this.blocks.map(() => new Float32Array(this.blockSize * width)); // each (S, K, D)
    this.values = this.blocks.map(() => new Float32Array(this.blockSize * width));
    this.head = tensors["lm_head.weight"] ?? tensors["token_embedding.weight"];
    const up = this.blocks[0].up.rows;
    const size = (numbers) => new Float32Array(numbers);
    this.x = size(C); // the residual stream
    this.h = size(C); // what a part reads, then what it gives
    this.qkv = size((this.H + 2 * this.K) * this.D);
    this.y = size(this.H * this.D);
    this.up = size(up);
    this.hidden = size(this.blocks[0].down.columns); // F
    this.scores = size(this.blockSize);
    if (config.position === "sinusoidal") this.rates = rates(10000, C);
    if (config.position === "rope") this.rates = rates(config.rope_theta, this.D);
    this.cos = new Float64Array(this.D / 2);
    this.sin = new Float64Array(this.D / 2);
  }

  // One block's weights by short names.
  block(prefix) {
    const get = (name) => this.tensors[prefix + name];
    const norm = (name) => ({ gain: get(`${name}.weight`), bias: get(`${name}.bias`) });
    return {
      attentionNorm: norm("attention_norm"), mlpNorm: norm("mlp_norm"),
      qkv: get("attention.qkv.weight"), qkvBias: get("attention.qkv.bias"),
      qGain: get("attention.q_norm.weight"), kGain: get("attention.k_norm.weight"),
      proj: get("attention.proj.weight"), projBias: get("attention.proj.bias"),
      up: get("mlp.up.weight"), upBias: get("mlp.up.bias"),
      down: get("mlp.down.weight"), downBias: get("mlp.down.bias"),
    };
  }

  // Keep the first positions and forget the others; without a number, forget all.
  forget(length = 0) {
    this.length = length;
  }

  // Read one token, as the next one. Where weights is an array, each layer's attention is put into it, (H, S) each.
  read(id, weights = null) {
    if (this.length >= this.blockSize) throw new Error(`the context is full: ${this.blockSize} tokens`);
    const pre = this.config.norm_position === "pre";
    this.embed(id);
    if (this.config.position === "rope") this.turnBy(this.length);
    this.blocks.forEach((block, layer) => {
      this.residual(pre, block.attentionNorm, () => this.attention(block, layer, weights));
      this.residual(pre, block.mlpNorm, () => this.feedForward(block));
    });
    this.length++;
  }

  // Logits (V,) of the token after the last one that was read.
  logits() {
    this.h.set(this.x);
    if (this.config.norm_position === "pre") {
      this.normalise(this.h, { gain: this.tensors["final_norm.weight"], bias: this.tensors["final_norm.bias"] });
    }
    return product(this.head, this.tensors["lm_head.bias"], this.h, new Float32Array(this.head.rows));
  }

  // x becomes the token's embedding, with its position where that is added.
  embed(id) {
    const { x, length } = this;
    this.addRow(this.tensors["token_embedding.weight"], id, x.fill(0));
    if (this.config.position === "learned") this.addRow(this.tensors["position_embedding.weight"], length, x);
    if (this.config.position === "sinusoidal") {
      for (let i = 0; i < x.length; i++) {
        const angle = Math.fround(length * this.rates[i >> 1]);
        x[i] += i % 2 ? Math.cos(angle) : Math.sin(angle);
      }
    }
  }

  addRow({ values, scales, columns }, row, x) {
    for (let i = 0; i < columns; i++) x[i] += values[row * columns + i] * scales[row];
  }

  // x + part(norm(x)), or norm(x + part(x)): a part reads h, and leaves its result there.
  residual(pre, norm, part) {
    const { x, h } = this;
    h.set(x);
    if (pre) this.normalise(h, norm);
    part();
    for (let i = 0; i < x.length; i++) x[i] += h[i];
    if (!pre) this.normalise(x, norm);
  }

  normalise(x, { gain, bias }) {
    if (this.config.norm === "rms") rmsNorm(x, gain, this.config.norm_eps);
    else layerNorm(x, gain, bias, this.config.norm_eps);
  }

  // Causal self-attention: this position sees itself and those before it, which the cache has.
  attention(block, layer, weights) {
    const { H, K, D, qkv, y, length, config } = this;
    const S = length + 1, keys = this.keys[layer], values = this.values[layer];
    product(block.qkv, block.qkvBias, this.h, qkv); // H queries, K keys, K values of D channels
    for (let head = 0; head < H + K; head++) {
      const gain = head < H ? block.qGain : block.kGain;
      if (gain) rmsNorm(qkv, gain, config.norm_eps, head * D);
      if (config.position === "rope") this.turn(qkv, head * D);
    }
    keys.set(qkv.subarray(H * D, (H + K) * D), length * K * D);
    values.set(qkv.subarray((H + K) * D), length * K * D);
    const kept = weights && new Float32Array(H * S);
    for (let head = 0; head < H; head++) {
      const group = Math.floor((head * K) / H) * D; // several heads may share keys and values
      attentionWeights(qkv, head * D, keys, group, K * D, D, S, this.scores);
      weightedSum(this.scores, values, group, K * D, D, S, y, head * D);
      kept?.set(this.scores.subarray(0, S), head * S);
    }
    weights?.push(kept);
    product(block.proj, block.projBias, y, this.h);
  }

  // The angles of a position, for all heads.
  turnBy(position) {
    for (let i = 0; i < this.rates.length; i++) {
      const angle = Math.fround(position * this.rates[i]);
      this.cos[i] = Math.cos(angle);
      this.sin[i] = Math.sin(angle);
    }
  }

  // Turn channel pairs (i, i + D/2) of one head, in place.
  turn(x, start) {
    const half = this.D / 2;
    for (let i = 0; i < half; i++) {
      const a = x[start + i], b = x[start + i + half];
      x[start + i] = a * this.cos[i] - b * this.sin[i];
      x[start + i + half] = b * this.cos[i] + a * this.sin[i];
    }
  }

  // The position-wise network; with swiglu, up has the gate's rows first, then the values'.
  feedForward(block) {
    const { up, hidden } = this, gated = this.config.activation === "swiglu";
    const F = hidden.length, activate = ACTIVATIONS[gated ? "silu" : this.config.activation];
    product(block.up, block.upBias, this.h, up);
    for (let i = 0; i < F; i++) hidden[i] = activate(up[i]) * (gated ? up[F + i] : 1);
    product(block.down, block.downBias, hidden, this.h);
  }
}
