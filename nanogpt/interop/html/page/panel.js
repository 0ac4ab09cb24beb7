// The panel about the chosen token: how likely it was, what else was likely, and where the model looked.
"use strict";

const ALTERNATIVES = 10;
const ATTENDED = 8;

class Panel {
  constructor(config, tokenizer, looker, view) {
    Object.assign(this, { config, tokenizer, looker, view });
    this.turn = 0; // counts choices: an answer to an earlier one comes too late
    const choices = (count) => Array.from({ length: count }, (_, i) => new Option(i + 1, i));
    byId("layer").replaceChildren(new Option("all, mean", ""), ...choices(config.n_layer));
    byId("head").replaceChildren(new Option("all, mean", ""), ...choices(config.n_head));
    for (const id of ["layer", "head"]) byId(id).addEventListener("change", () => this.showAttention());
    byId("previous").addEventListener("click", () => view.move(-1));
    byId("next").addEventListener("click", () => view.move(1));
    byId("close").addEventListener("click", () => view.choose(null));
  }

  close() {
    this.turn++;
    this.found = null;
    this.show(false);
    this.view.select(null);
  }

  show(open) {
    byId("chosen").hidden = !open;
    byId("invitation").hidden = open;
    document.body.classList.toggle("looking", open);
  }

  // Look at one token of a text and show what is found. Returns a sentence about it; null where another was chosen
  // since.
  async open(ids, index, isPrompt) {
    const turn = ++this.turn;
    let found = null;
    this.show(true);
    this.view.select(index);
    const ended = await runInSlices(this.looker.look(ids, index), (one) => (found = one), () => turn !== this.turn);
    if (!ended || turn !== this.turn) return null;
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
    const told = `${percent(share)} likely here, number ${rank} of ${probabilities.length}.`;
    byId("chosen-title").textContent = name;
    const origin = isPrompt ? "Part of the prompt" : "Written by the model";
    byId("chosen-told").textContent = `${origin}, token ${index + 1}. ${told}`;
    showBars(
      byId("alternatives"),
      largest(probabilities, ALTERNATIVES).map((one) => {
        return { name: tokenName(this.tokenizer, one), share: probabilities[one], marked: one === id };
      }),
    );
    return `Token ${index + 1}, ${name}: ${told}`;
  }

  showAttention() {
    if (!this.found) return;
    const { layers, ids, index, start } = this.found;
    const chosen = (id) => (byId(id).value === "" ? null : Number(byId(id).value));
    const weights = meanAttention(layers, this.config.n_head, chosen("layer"), chosen("head"));
    this.view.shade(weights, start);
    showBars(
      byId("attended"),
      largest(weights, ATTENDED).map((place) => {
        const back = index - start - place;
        return { name: tokenName(this.tokenizer, ids[start + place]), note: `${back} back`, share: weights[place] };
      }),
    );
  }
}
