// The text as one span per token, coloured by probability; one token can be selected.
"use strict";

class TextView {
  // choose(index or null): called when a token is selected or deselected.
  constructor(element, tokenizer, choose) {
    Object.assign(this, { element, tokenizer, choose });
    this.clear();
    element.addEventListener("click", (event) => this.clicked(event));
    element.addEventListener("keydown", (event) => this.pressed(event));
  }

  clear() {
    this.spans = [];
    this.chosen = null;
    this.shaded = [];
    this.out = new TokenDecoder(this.tokenizer);
    this.element.replaceChildren();
    this.element.classList.remove("attending");
  }

  // Add a token; its probability is null in the prompt. `hidden`: the token that an empty prompt starts with.
  add(id, probability, hidden = false) {
    const text = hidden ? "" : this.out.feed(id);
    const span = make("span", "token", text);
    span.index = this.spans.length;
    if (probability === null) span.classList.add("prompt");
    else span.dataset.level = levelOf(probability);
    if (hidden) span.classList.add("start");
    else if (!text) span.classList.add("open"); // bytes of a character that a later token completes
    if (text.startsWith("\n")) span.classList.add("newline");
    this.spans.push(span);
    this.element.append(span);
  }

  // End the text: an incomplete character becomes a replacement character.
  finish() {
    if (this.spans.length) this.spans[this.spans.length - 1].append(this.out.flush());
  }

  select(index) {
    if (this.chosen !== null) this.spans[this.chosen].classList.remove("chosen");
    this.chosen = index;
    if (index === null) return this.shade(null);
    this.spans[index].classList.add("chosen");
  }

  // Scroll the selected token into view; on a small screen the panel covers the lower half.
  reveal() {
    const panel = byId("panel"), covered = getComputedStyle(panel).position === "fixed" ? panel.offsetHeight : 0;
    const { top, bottom } = this.spans[this.chosen].getBoundingClientRect(), visible = innerHeight - covered;
    if (top < 0 || bottom > visible) scrollBy({ top: top - visible / 2 });
  }

  // Colour the tokens from start on by weights instead of by probability; null undoes it.
  shade(weights, start = 0) {
    for (const span of this.shaded) span.style.removeProperty("--weight");
    this.element.classList.toggle("attending", weights !== null);
    this.shaded = weights === null ? [] : this.spans.slice(start, start + weights.length);
    const top = weights === null ? 1 : Math.max(...weights);
    this.shaded.forEach((span, i) => span.style.setProperty("--weight", (weights[i] / top).toFixed(3)));
  }

  // Select the next token in a direction, or the first predicted one.
  move(by) {
    const first = 1; // nothing predicts the first token
    const target = this.chosen === null ? first : this.chosen + by;
    if (this.spans.length > first) this.choose(Math.min(Math.max(target, first), this.spans.length - 1));
  }

  clicked(event) {
    const span = event.target.closest(".token");
    if (span && span.index > 0) this.choose(span.index === this.chosen ? null : span.index);
  }

  pressed(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (event.key === "Escape") this.choose(null);
    else if (event.key in moves) this.move(moves[event.key]);
    else return;
    event.preventDefault();
  }
}
