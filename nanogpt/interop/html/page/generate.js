// Text from the model: which window it reads, and how a token is drawn. The rules of nanogpt/sampling.py.
"use strict";

// Where the window that predicts the token at a position begins: it grows until the context is full, then its newest
// half is read again (nanogpt/generation/cache.py).
function windowStart(position, blockSize) {
  if (position <= blockSize) return 0;
  const stride = blockSize + 1 - Math.max(1, Math.floor(blockSize / 2));
  return Math.ceil((position - blockSize) / stride) * stride;
}

// The ids that generation starts from; at least one, also for an empty prompt (nanogpt/generation/text.py).
function encodePrompt(tokenizer, prompt) {
  const { ids, unknown } = tokenizer.encode(prompt);
  if (ids.length) return { ids, unknown };
  const newline = tokenizer.encode("\n").ids;
  return { ids: newline.length ? newline : [0], unknown };
}

// Continue ids: yields {id, probability} for each new token, and null between tokens that are only read, so that the
// caller may pause. Ends after settings.tokens, or before settings.end, the end-of-document token.
function* generate(decoder, ids, settings) {
  const text = [...ids];
  let start = 0;
  decoder.forget();
  for (let count = 0; count < settings.tokens; count++) {
    const moved = windowStart(text.length, decoder.blockSize);
    if (moved !== start) decoder.forget();
    start = moved;
    while (decoder.length < text.length - start) {
      decoder.read(text[start + decoder.length]);
      yield null;
    }
    const logits = decoder.logits();
    const id = draw(logits, settings, () => uniform(settings.seed, "sample", 0, text.length));
    if (id === settings.end) return;
    text.push(id);
    yield { id, probability: softmax(logits)[id] };
  }
}

// A token: the likeliest where the temperature is 0, else where the running sum of probabilities passes the number.
function draw(logits, { temperature, topK }, number) {
  if (!logits.every(Number.isFinite)) throw new Error("the model's predictions are not numbers: its training diverged");
  if (temperature === 0) return logits.indexOf(logits.reduce((a, b) => Math.max(a, b)));
  const divided = logits.map((logit) => logit / Math.fround(temperature)); // rounded to 32 bits again, as in Python
  const running = softmax(topK ? keepTopK(divided, topK) : divided);
  for (let id = 1; id < running.length; id++) running[id] += running[id - 1];
  // Scaled by the sum as rounded, so that the last likely token, never one beyond it, takes the rest.
  const aim = number() * running[running.length - 1];
  return running.findIndex((sum) => sum > aim);
}

// All but the k largest become -Infinity; of equal ones exactly k are kept.
function keepTopK(logits, k) {
  if (k >= logits.length) return logits;
  const floor = Float32Array.from(logits).sort()[logits.length - k];
  let equal = k - logits.filter((logit) => logit > floor).length;
  return logits.map((logit) => (logit > floor || (logit === floor && equal-- > 0) ? logit : -Infinity));
}

// Probabilities (V,) in 64 bits.
function softmax(logits) {
  const top = logits.reduce((a, b) => Math.max(a, b));
  const found = Float64Array.from(logits, (logit) => Math.exp(logit - top));
  const total = found.reduce((a, b) => a + b);
  return found.map((one) => one / total);
}
