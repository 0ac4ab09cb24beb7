// Elements and text formats. What comes from the model or its tokenizer is inserted as text, never as HTML.
"use strict";

const byId = (id) => document.getElementById(id);

// Make an element with a class and a text.
function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

const VISIBLE = { " ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍", "\u00a0": "⍽" };
const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

// Make a text visible: white space as signs, other characters without a shape as ‹U+0301›.
function visible(text) {
  const digits = (character) => character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
  return text.replace(/[\p{C}\p{Z}\p{M}]/gu, (character) => VISIBLE[character] ?? `‹U+${digits(character)}›`);
}

// A token's visible text. If its bytes are not whole characters, the non-ASCII ones are shown as ‹C3›.
function tokenName(tokenizer, id) {
  if (id === tokenizer.end) return "end of document";
  const bytes = tokenizer.bytes(id);
  if (!bytes.length) return `token ${id}`;
  try {
    return visible(strictDecoder.decode(bytes));
  } catch {
    const hexadecimal = (byte) => `‹${byte.toString(16).toUpperCase()}›`;
    const name = (byte) => (byte < 128 ? visible(String.fromCharCode(byte)) : hexadecimal(byte));
    return Array.from(bytes, name).join("");
  }
}

// A probability with at most three figures.
function percent(probability) {
  const value = 100 * probability;
  if (value > 0 && value < 0.01) return "< 0.01 %";
  return `${value.toFixed(value >= 99.95 || value === 0 ? 0 : value >= 10 ? 1 : 2)} %`;
}

// The steps of the colour scale; a token at least as likely as the first has no colour.
const LEVELS = [0.5, 0.25, 0.1, 0.03, 0.01];

function levelOf(probability) {
  const level = LEVELS.findIndex((least) => probability >= least);
  return level < 0 ? LEVELS.length : level;
}

function showLegend(element) {
  const words = [...LEVELS.map((least) => `≥ ${100 * least} %`), "less"];
  element.replaceChildren(make("span", "", "Probability"));
  words.forEach((word, level) => {
    const sample = make("span", "token", word);
    sample.dataset.level = level;
    element.append(sample);
  });
}

// Show lines of name, bar and percentage: [{name, note, share, marked}] with shares of 1.
function showBars(list, lines) {
  const longest = Math.max(...lines.map((line) => line.share), 1e-9);
  list.replaceChildren(
    ...lines.map(({ name, note = "", share, marked }) => {
      const line = make("li", marked ? "marked" : "");
      const label = make("span", "name", name);
      if (note) label.append(make("small", "", ` ${note}`));
      const bar = make("span", "bar");
      bar.append(make("span"));
      bar.firstChild.style.width = `${(100 * share) / longest}%`;
      bar.setAttribute("aria-hidden", "true");
      line.append(label, bar, make("span", "share", percent(share)));
      return line;
    }),
  );
}
