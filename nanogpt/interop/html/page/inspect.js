// What the model thought at one place of a text: read again when somebody asks, rather than kept for every token.
"use strict";

class Looker {
  constructor(decoder) {
    this.decoder = decoder; // its own, so that a text may be on its way meanwhile
    this.read = []; // the ids in its cache
  }

  // The prediction of ids[position]: yields null between tokens, and at last
  // {start, probabilities (V,), layers: each layer's attention (H, S) of the token before, over ids from start on}.
  *look(ids, position) {
    const { decoder } = this, start = windowStart(position, decoder.blockSize);
    const window = ids.slice(start, position);
    let same = 0;
    while (same < this.read.length && this.read[same] === window[same]) same++;
    // The last one is always read, for its attention; what stands before it may be in the cache.
    this.read = window.slice(0, Math.min(same, window.length - 1));
    decoder.forget(this.read.length);
    const layers = [];
    while (this.read.length < window.length) {
      const last = this.read.length === window.length - 1;
      decoder.read(window[this.read.length], last ? layers : null);
      this.read.push(window[this.read.length]);
      yield null;
    }
    yield { start, probabilities: softmax(decoder.logits()), layers };
  }
}

// Attention over S positions, of one head of one layer, or the mean over all where layer or head is null.
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

// Places of the largest numbers, the largest first.
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

const SLICE_MILLISECONDS = 25; // in shorter ones more time goes into drawing, with longer ones the page answers late

// Do the work of a generator in short slices, so that the page answers in between. What it yields, but for null, is
// given to take. False where stopped() said so before the end.
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

// Come back when the page has done what waits; a timer would come back later, and hardly at all behind another tab.
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
