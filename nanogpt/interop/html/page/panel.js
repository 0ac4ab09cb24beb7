// The panel about the selected token: its probability, the alternatives, and the attention.
"use strict";

const ALTERNATIVES = 10;
const ATTENDED = 8;

class Panel {
  constructor(config, tokenizer, inspector, view) {
    Object.assign(this, { config, tokenizer, inspector, view });
    this.request = 0; // number of the newest selection; results of earlier ones are dropped
    const choices = (count) => Array.from({ length: count }, (_, i) => new Option(i + 1, i));
    byId("layer").replaceChildren(new Option("all, mean", ""), ...choices(config.n_layer));
    byId("head").replaceChildren(new Option("all, mean", ""), ...choices(config.n_head));
    for (const id of ["layer", "head"]) byId(id).addEventListener("change", () => this.showAttention());
    byId("previous").addEventListener("click", () => view.move(-1));
    byId("next").addEventListener("click", () => view.move(1));
    byId("close").addEventListener("click", () => view.choose(null));
  }

  close() {
    this.request++;
    this.found = null;
    this.show(false);
    this.view.select(null);
  }

  show(open) {
    byId("chosen").hidden = !open;
    byId("invitation").hidden = open;
    document.body.classList.toggle("inspecting", open);
  }

  // Inspect one token of a text and show the result. Return a sentence about it, or null if another one was selected
  // meanwhile.
  async open(ids, index, isPrompt) {
    const request = ++this.request;
    let found = null;
    this.show(true);
    this.view.select(index);
    const work = this.inspector.inspect(ids, index);
    const ended = await runInSlices(work, (one) => (found = one), () => request !== this.request);
    if (!ended || request !== this.request) return null;
    this.found = { ...found, ids, index };
    const sentence = this.showPrediction(isPrompt);
    this.showAttention();
    this.view.reveal();
    return sentence;
  }

  showPrediction(isPrompt) {
    const { probabilities, ids, index } = this.found;
    const id = ids[index], share = probabilities[id], name = tokenName(this.tokenizer, id);
    const rank = probabilities.filter((one) => one > share).length + 1;
    const probability = `Probability ${percent(share)}, rank ${rank} of ${probabilities.length}.`;
    byId("chosen-title").textContent = name;
    const origin = isPrompt ? "Part of the prompt" : "Written by the model";
    byId("chosen-details").textContent = `${origin}, token ${index + 1}. ${probability}`;
    showBars(
      byId("alternatives"),
      largest(probabilities, ALTERNATIVES).map((one) => {
        return { name: tokenName(this.tokenizer, one), share: probabilities[one], marked: one === id };
      }),
    );
    return `Token ${index + 1}, ${name}: ${probability}`;
  }

  showAttention() {
    if (!this.found) return;
    const { layers, ids, index, start } = this.found;
    const chosen = (id) => (byId(id).value === "" ? null : Number(byId(id).value));
    const weights = meanAttention(layers, this.config.n_head, chosen("layer"), chosen("head"));
    this.view.shade(weights, start);
    showBars(
      byId("attended"),
      largest(weights, ATTENDED).map((at) => {
        const back = index - start - at;
        return { name: tokenName(this.tokenizer, ids[start + at]), note: `${back} back`, share: weights[at] };
      }),
    );
  }
}
