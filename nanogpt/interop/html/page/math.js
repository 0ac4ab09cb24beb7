// The model's arithmetic: matrix products, norms, activations, attention. Numbers are stored in 32 bits (Float32Array)
// and summed in 64.
//
// Shapes: D channels per head, S positions so far. Matrices have 8-bit weights, see weights.js.
"use strict";

// y = W x + b: 8-bit W (rows, columns), x (columns,) -> y (rows,). Four rows at a time: each number of x is read once
// for four products, and the four sums are independent.
function product(W, b, x, y) {
  const { values, scales, rows, columns } = W;
  let row = 0;
  for (; row + 4 <= rows; row += 4) {
    const r0 = row * columns, r1 = r0 + columns, r2 = r1 + columns, r3 = r2 + columns;
    let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (let j = 0; j < columns; j++) {
      const xj = x[j];
      s0 += values[r0 + j] * xj;
      s1 += values[r1 + j] * xj;
      s2 += values[r2 + j] * xj;
      s3 += values[r3 + j] * xj;
    }
    y[row] = s0 * scales[row];
    y[row + 1] = s1 * scales[row + 1];
    y[row + 2] = s2 * scales[row + 2];
    y[row + 3] = s3 * scales[row + 3];
  }
  for (; row < rows; row++) {
    let sum = 0;
    for (let j = 0; j < columns; j++) sum += values[row * columns + j] * x[j];
    y[row] = sum * scales[row];
  }
  if (b) for (let r = 0; r < rows; r++) y[r] += b[r];
  return y;
}

// RMSNorm of the numbers from `start` on, in place (Zhang and Sennrich 2019).
function rmsNorm(x, gain, eps, start = 0) {
  const size = gain.length;
  let sum = 0;
  for (let i = 0; i < size; i++) sum += x[start + i] ** 2;
  const scale = 1 / Math.sqrt(sum / size + eps);
  for (let i = 0; i < size; i++) x[start + i] *= scale * gain[i];
}

// LayerNorm, in place (Ba et al. 2016).
function layerNorm(x, gain, bias, eps) {
  const size = gain.length;
  let mean = 0, variance = 0;
  for (let i = 0; i < size; i++) mean += x[i] / size;
  for (let i = 0; i < size; i++) variance += (x[i] - mean) ** 2 / size;
  const scale = 1 / Math.sqrt(variance + eps);
  for (let i = 0; i < size; i++) x[i] = (x[i] - mean) * scale * gain[i] + (bias ? bias[i] : 0);
}

const ACTIVATIONS = {
  relu: (x) => Math.max(0, x),
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  silu: (x) => x / (1 + Math.exp(-x)),
};

// The error function, which JavaScript lacks: its series near zero, the continued fraction of 1 - erf beyond
// (Abramowitz and Stegun 1964, 7.1.5 and 7.1.14).
function erf(x) {
  const z = Math.abs(x);
  if (z < 2.5) {
    let term = z, sum = z;
    for (let n = 1; Math.abs(term) > 1e-12 * sum; n++) {
      term *= (-z * z) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 20; n > 0; n--) fraction = n / 2 / (z + fraction);
  return Math.sign(x) * (1 - Math.exp(-z * z) / ((z + fraction) * Math.sqrt(Math.PI)));
}

// softmax(q k' / sqrt(D)) of one query over S keys, `stride` numbers apart, into the first S of `scores`.
function attentionWeights(q, from, keys, group, stride, D, S, scores) {
  const scale = 1 / Math.sqrt(D);
  let top = -Infinity, total = 0;
  for (let s = 0, at = group; s < S; s++, at += stride) {
    let even = 0, odd = 0; // two independent sums
    for (let i = 0; i + 1 < D; i += 2) {
      even += q[from + i] * keys[at + i];
      odd += q[from + i + 1] * keys[at + i + 1];
    }
    if (D % 2) even += q[from + D - 1] * keys[at + D - 1];
    scores[s] = (even + odd) * scale;
    if (scores[s] > top) top = scores[s];
  }
  for (let s = 0; s < S; s++) total += scores[s] = Math.exp(scores[s] - top);
  for (let s = 0; s < S; s++) scores[s] /= total;
}

// y[start ...] (D,) = the sum over S positions of weight times value.
function weightedSum(weights, values, group, stride, D, S, y, start) {
  for (let i = 0; i < D; i++) y[start + i] = 0;
  for (let s = 0, at = group; s < S; s++, at += stride) {
    const weight = weights[s];
    for (let i = 0; i < D; i++) y[start + i] += weight * values[at + i];
  }
}
