// Text generation by the rules of nanogpt/sampling: which window the model reads, and how a token is sampled.
"use strict";

// Return the start of the window that predicts the token at a position: it grows until the context is full, then its
// newest half is read again (nanogpt/sampling/generate.py).
function windowStart(position, blockSize) {
  if (position <= blockSize) return 0;
  const stride = blockSize + 1 - Math.max(1, Math.floor(blockSize / 2));
  return Math.ceil((position - blockSize) / stride) * stride;
}

// Return the ids that generation starts from; at least one, also for an empty prompt (nanogpt/sampling/generate.py).
function encodePrompt(tokenizer, prompt) {
  const { ids, unknown } = tokenizer.encode(prompt);
  if (ids.length) return { ids, unknown };
  if (tokenizer.bos !== null) return { ids: [tokenizer.bos], unknown };
  const newline = tokenizer.encode("\n").ids;
  return { ids: newline.length ? newline : [0], unknown };
}

// Continue ids: yield {id, probability} for each new token, and null after each token that is only read, so that the
// caller can pause. Stops after settings.tokens, or at settings.end, the end-of-document token.
function* generate(model, ids, settings) {
  const text = [...ids];
  let start = 0;
  model.truncate();
  for (let count = 0; count < settings.tokens; count++) {
    const moved = windowStart(text.length, model.blockSize);
    if (moved !== start) model.truncate();
    start = moved;
    while (model.length < text.length - start) {
      model.read(text[start + model.length]);
      yield null;
    }
    const logits = model.logits();
    const id = sample(logits, settings, () => uniform(settings.seed, "sample", 0, text.length));
    if (id === settings.end) return;
    text.push(id);
    yield { id, probability: softmax(logits)[id] };
  }
}

// Sample a token: the likeliest if the temperature is 0, else where the cumulative probability passes the number.
function sample(logits, { temperature, topK }, number) {
  if (!logits.every(Number.isFinite)) throw new Error("the model's predictions are not numbers: its training diverged");
  if (temperature === 0) return logits.indexOf(logits.reduce((a, b) => Math.max(a, b)));
  const divided = logits.map((logit) => logit / Math.fround(temperature)); // rounded to 32 bits, as in Python
  const cumulative = softmax(topK ? keepTopK(divided, topK) : divided);
  for (let id = 1; id < cumulative.length; id++) cumulative[id] += cumulative[id - 1];
  // Scaled by the rounded total, so that the rest falls to the last likely token, never to one beyond it.
  const aim = number() * cumulative[cumulative.length - 1];
  return cumulative.findIndex((sum) => sum > aim);
}

// Set all but the k largest logits to -Infinity; of equal ones keep exactly k.
function keepTopK(logits, k) {
  if (k >= logits.length) return logits;
  const floor = Float32Array.from(logits).sort()[logits.length - k];
  let equal = k - logits.filter((logit) => logit > floor).length;
  return logits.map((logit) => (logit > floor || (logit === floor && equal-- > 0) ? logit : -Infinity));
}

// Return probabilities (V,) in 64 bits.
function softmax(logits) {
  const top = logits.reduce((a, b) => Math.max(a, b));
  const found = Float64Array.from(logits, (logit) => Math.exp(logit - top));
  const total = found.reduce((a, b) => a + b);
  return found.map((one) => one / total);
}
