// The model, one token at a time, with a key-value cache. Same modules, names and order as nanogpt/model/gpt.py.
//
// Shapes: C channels, H heads, K key-value heads, D channels per head, F channels inside the feed-forward
// network, V vocabulary, S positions so far.
"use strict";

// The angular frequencies of the channel pairs, base^(-2i/size), each step rounded to 32 bits as in torch. At position
// 4,000 that leaves an angle an error of 0.0002; a more exact one would differ from what the model was trained with.
function frequencies(base, size) {
  return Float32Array.from({ length: Math.ceil(size / 2) }, (_, i) => base ** Math.fround((-2 * i) / size));
}

class GPT {
  // config: a nanogpt.config.ModelConfig; tensors: by their names in nanogpt.model.gpt.GPT.
  constructor(config, tensors) {
    this.config = config;
    this.tensors = tensors;
    this.blockSize = config.block_size;
    this.length = 0; // number of positions read so far, S
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
    this.h = size(C); // the input of a sub-layer, then its output
    this.qkv = size((this.H + 2 * this.K) * this.D);
    this.y = size(this.H * this.D);
    this.up = size(up);
    this.hidden = size(this.blocks[0].down.columns); // F
    this.scores = size(this.blockSize);
    if (config.position === "sinusoidal") this.frequencies = frequencies(10000, C);
    if (config.position === "rope") this.frequencies = frequencies(config.rope_theta, this.D);
    this.cos = new Float64Array(this.D / 2);
    this.sin = new Float64Array(this.D / 2);
  }

  // A block's weights by short names.
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

  // Keep the first `length` positions in the cache.
  truncate(length = 0) {
    this.length = length;
  }

  // Read the next token. If `weights` is an array, each layer's attention weights (H, S) are appended to it.
  read(id, weights = null) {
    if (this.length >= this.blockSize) throw new Error(`the context is full: ${this.blockSize} tokens`);
    const pre = this.config.norm_position === "pre";
    this.embed(id);
    if (this.config.position === "rope") this.setRotation(this.length);
    this.blocks.forEach((block, layer) => {
      this.residual(pre, block.attentionNorm, () => this.attention(block, layer, weights));
      this.residual(pre, block.mlpNorm, () => this.feedForward(block));
    });
    this.length++;
  }

  // The logits (V,) of the token after the last one read.
  logits() {
    this.h.set(this.x);
    if (this.config.norm_position === "pre") {
      this.normalise(this.h, { gain: this.tensors["final_norm.weight"], bias: this.tensors["final_norm.bias"] });
    }
    return product(this.head, this.tensors["lm_head.bias"], this.h, new Float32Array(this.head.rows));
  }

  // Set x to the token's embedding, plus the position's where there is one.
  embed(id) {
    const { x, length } = this;
    this.addRow(this.tensors["token_embedding.weight"], id, x.fill(0));
    if (this.config.position === "learned") this.addRow(this.tensors["position_embedding.weight"], length, x);
    if (this.config.position === "sinusoidal") {
      for (let i = 0; i < x.length; i++) {
        const angle = Math.fround(length * this.frequencies[i >> 1]);
        x[i] += i % 2 ? Math.cos(angle) : Math.sin(angle);
      }
    }
  }

  addRow({ values, scales, columns }, row, x) {
    for (let i = 0; i < columns; i++) x[i] += values[row * columns + i] * scales[row];
  }

  // x + layer(norm(x)), or norm(x + layer(x)); the sub-layer reads h and writes its output there.
  residual(pre, norm, layer) {
    const { x, h } = this;
    h.set(x);
    if (pre) this.normalise(h, norm);
    layer();
    for (let i = 0; i < x.length; i++) x[i] += h[i];
    if (!pre) this.normalise(x, norm);
  }

  normalise(x, { gain, bias }) {
    if (this.config.norm === "rms") rmsNorm(x, gain, this.config.norm_eps);
    else layerNorm(x, gain, bias, this.config.norm_eps);
  }

  // Causal self-attention: the position attends to itself and to those before it, in the cache.
  attention(block, layer, weights) {
    const { H, K, D, qkv, y, length, config } = this;
    const S = length + 1, keys = this.keys[layer], values = this.values[layer];
    product(block.qkv, block.qkvBias, this.h, qkv); // H queries, K keys, K values of D channels
    for (let head = 0; head < H + K; head++) {
      const gain = head < H ? block.qGain : block.kGain;
      if (gain) rmsNorm(qkv, gain, config.norm_eps, head * D);
      if (config.position === "rope") this.rotate(qkv, head * D);
    }
    keys.set(qkv.subarray(H * D, (H + K) * D), length * K * D);
    values.set(qkv.subarray((H + K) * D), length * K * D);
    const kept = weights && new Float32Array(H * S);
    for (let head = 0; head < H; head++) {
      const group = Math.floor((head * K) / H) * D; // heads may share keys and values
      attentionWeights(qkv, head * D, keys, group, K * D, D, S, this.scores);
      weightedSum(this.scores, values, group, K * D, D, S, y, head * D);
      kept?.set(this.scores.subarray(0, S), head * S);
    }
    weights?.push(kept);
    product(block.proj, block.projBias, y, this.h);
  }

  // Set the angles of a position, for all heads.
  setRotation(position) {
    for (let i = 0; i < this.frequencies.length; i++) {
      const angle = Math.fround(position * this.frequencies[i]);
      this.cos[i] = Math.cos(angle);
      this.sin[i] = Math.sin(angle);
    }
  }

  // Rotate the channel pairs (i, i + D/2) of one head, in place.
  rotate(x, start) {
    const half = this.D / 2;
    for (let i = 0; i < half; i++) {
      const a = x[start + i], b = x[start + i + half];
      x[start + i] = a * this.cos[i] - b * this.sin[i];
      x[start + i + half] = b * this.cos[i] + a * this.sin[i];
    }
  }

  // The feed-forward network; with swiglu, `up` has the gate's rows first, then the values'.
  feedForward(block) {
    const { up, hidden } = this, gated = this.config.activation === "swiglu";
    const F = hidden.length, activate = ACTIVATIONS[gated ? "silu" : this.config.activation];
    product(block.up, block.upBias, this.h, up);
    for (let i = 0; i < F; i++) hidden[i] = activate(up[i]) * (gated ? up[F + i] : 1);
    product(block.down, block.downBias, hidden, this.h);
  }
}
