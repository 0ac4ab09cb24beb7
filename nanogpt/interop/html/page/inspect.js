// The model's prediction and attention at one position of a text, computed again when asked for instead of stored for
// every token.
"use strict";

class Inspector {
  constructor(model) {
    this.model = model; // not the one that generates, which may be running meanwhile
    this.read = []; // the ids in its cache
  }

  // Inspect the prediction of ids[position]: yield null after each token read, and finally
  // {start, probabilities (V,), layers: each layer's attention (H, S) of the previous token, over ids from start on}.
  *inspect(ids, position) {
    const { model } = this, start = windowStart(position, model.blockSize);
    const window = ids.slice(start, position);
    let same = 0;
    while (same < this.read.length && this.read[same] === window[same]) same++;
    // The last token is always read, for its attention; those before it may be in the cache.
    this.read = window.slice(0, Math.min(same, window.length - 1));
    model.truncate(this.read.length);
    const layers = [];
    while (this.read.length < window.length) {
      const last = this.read.length === window.length - 1;
      model.read(window[this.read.length], last ? layers : null);
      this.read.push(window[this.read.length]);
      yield null;
    }
    yield { start, probabilities: softmax(model.logits()), layers };
  }
}

// Return the attention over S positions of one head of one layer, or the mean over all if layer or head is null.
function meanAttention(layers, heads, layer, head) {
  const S = layers[0].length / heads;
  const mean = new Float64Array(S);
  const chosenLayers = layer === null ? layers : [layers[layer]];
  const chosenHeads = head === null ? Array.from({ length: heads }, (_, h) => h) : [head];
  for (const weights of chosenLayers) {
    for (const h of chosenHeads) {
      for (let s = 0; s < S; s++) mean[s] += weights[h * S + s] / (chosenLayers.length * chosenHeads.length);
    }
  }
  return mean;
}

// Return the indices of the largest numbers, the largest first.
function largest(numbers, count) {
  const found = [];
  for (let i = 0; i < numbers.length; i++) {
    if (found.length === count && numbers[i] <= numbers[found[count - 1]]) continue;
    let at = found.length;
    while (at > 0 && numbers[i] > numbers[found[at - 1]]) at--;
    found.splice(at, 0, i);
    found.length = Math.min(found.length, count);
  }
  return found;
}

const SLICE_MILLISECONDS = 25; // shorter slices spend more time on drawing, longer ones make the page respond late

// Run a generator in short slices, so that the page responds in between. Pass what it yields, except null, to take().
// Return false if stopped() was true before the end.
async function runInSlices(work, take, stopped = () => false) {
  for (;;) {
    const until = performance.now() + SLICE_MILLISECONDS;
    do {
      if (stopped()) return false;
      const { value, done } = work.next();
      if (done) return true;
      if (value !== null) take(value);
    } while (performance.now() < until);
    await pause();
  }
}

// Resume after the page's pending work; a timer would resume later, and hardly ever in a background tab.
function pause() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
