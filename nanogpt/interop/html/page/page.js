// The page itself: its controls, and an interface for tests.
"use strict";

const data = JSON.parse(byId("model").textContent);
const config = data.config;
const tensors = readTensors(data.tensors, readBase64(byId("weights").textContent));
const tokenizer = makeTokenizer(data.tokenizer);
const model = new GPT(config, tensors);
const inspector = new Inspector(new GPT(config, tensors));
byId("weights").textContent = ""; // frees memory

// The text on the page: its ids, how many of them are the prompt's, and how long the rest took.
const current = { ids: [], prompt: 0, stopped: true, milliseconds: 0 };
const view = new TextView(byId("text"), tokenizer, choose);
const panel = new Panel(config, tokenizer, inspector, view);

function setStatus(message) {
  byId("status").textContent = message;
}

function showAbout({ text, preset, step, parameters }) {
  const bytes = Object.values(tensors).reduce((sum, one) => sum + (one.values?.length ?? 4 * one.length), 0);
  const size = bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
  const kind = { char: "characters", byte: "bytes", bpe: "byte pairs (BPE)" }[data.tokenizer.kind];
  const number = (value) => value.toLocaleString("en-GB");
  document.title = `${text} · Nano-GPT`;
  document.querySelector("h1").textContent = text;
  byId("about").textContent =
    `A GPT with ${number(parameters)} parameters (preset ${preset}) after ${number(step)} training steps. ` +
    `Its tokens are ${kind}: a vocabulary of ${number(data.tokenizer.vocab_size)}, a context of ` +
    `${number(config.block_size)}. Its weights are rounded to 8 bits: ${size}.`;
}

function showUnknown(unknown) {
  const names = unknown.slice(0, 10).map((one) => `“${visible(one)}”`).join(" ");
  const more = unknown.length > 10 ? ` and ${unknown.length - 10} more` : "";
  byId("unknown").hidden = !unknown.length;
  byId("unknown").textContent = unknown.length ? `The model does not know ${names}${more}: skipped.` : "";
}

function readSettings() {
  return {
    tokens: Number(byId("tokens").value),
    temperature: Number(byId("temperature").value),
    topK: Number(byId("top-k").value) || null,
    seed: BigInt(byId("seed").value),
    end: tokenizer.end,
  };
}

async function write() {
  const settings = readSettings(), prompt = byId("prompt").value;
  const { ids, unknown } = encodePrompt(tokenizer, prompt);
  const hidden = !tokenizer.encode(prompt).ids.length;
  showUnknown(unknown);
  panel.close();
  view.clear();
  Object.assign(current, { ids: [...ids], prompt: ids.length, stopped: false });
  for (const id of ids) view.add(id, null, hidden);
  setWriting(true);
  setStatus("Writing …");
  const began = performance.now();
  try {
    await runInSlices(generate(model, ids, settings), addToken, () => current.stopped);
    view.finish();
    current.milliseconds = performance.now() - began;
    setStatus(summary(settings));
  } catch (error) {
    setStatus(`Cannot continue: ${error.message}.`);
  }
  setWriting(false);
}

function addToken({ id, probability }) {
  current.ids.push(id);
  view.add(id, probability);
}

function summary(settings) {
  const count = current.ids.length - current.prompt;
  const speed = `${count} tokens, ${Math.round((1000 * count) / Math.max(current.milliseconds, 1))} per second`;
  if (current.stopped) return `Stopped after ${speed}.`;
  return count < settings.tokens ? `The model ended the text: ${speed}.` : `${speed}.`;
}

function setWriting(writing) {
  byId("write").disabled = writing;
  byId("stop").disabled = !writing;
}

// Select a token of the text, or none.
async function choose(index) {
  if (index === null) return panel.close();
  const sentence = await panel.open(current.ids, index, index < current.prompt);
  if (sentence) setStatus(sentence);
}

// A prompt whose characters the model knows.
function firstPrompt() {
  return ["The ", "the "].find((one) => !tokenizer.encode(one).unknown.length) ?? "";
}

function start() {
  showAbout(data.about);
  showLegend(byId("legend"));
  byId("prompt").value = firstPrompt();
  byId("temperature").addEventListener("input", () => (byId("temperature-shown").value = byId("temperature").value));
  byId("prompt").addEventListener("input", () => showUnknown(tokenizer.encode(byId("prompt").value).unknown));
  byId("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("write").click();
  });
  byId("settings").addEventListener("submit", (event) => {
    event.preventDefault();
    write();
  });
  byId("stop").addEventListener("click", () => (current.stopped = true));
}

start();

// For tests and benchmarks: the model without the page around it.
window.nanogpt = {
  encode: (text) => tokenizer.encode(text).ids,
  decode(ids) {
    const decoder = new TokenDecoder(tokenizer);
    return ids.map((id) => decoder.feed(id)).join("") + decoder.flush();
  },
  logits(ids) {
    model.truncate();
    return ids.map((id) => (model.read(id), model.logits()));
  },
  inspect: (ids, position) => [...inspector.inspect(ids, position)].pop(),
  greedy: (ids, tokens) => nanogpt.continue(ids, { tokens, temperature: 0 }),
  continue: (ids, settings) => [...generate(model, ids, settings)].filter(Boolean).map((one) => one.id),
  generate(prompt, settings) {
    const { ids } = encodePrompt(tokenizer, prompt);
    return nanogpt.decode(nanogpt.continue(ids, { ...settings, end: tokenizer.end, seed: BigInt(settings.seed) }));
  },
  uniform: (seed, ...position) => uniform(BigInt(seed), "sample", ...position),
  // Tokens per second over a number of tokens, starting from an empty context.
  speed(tokens) {
    const began = performance.now();
    nanogpt.continue([0], { tokens, temperature: 1, seed: 1 });
    return (1000 * tokens) / (performance.now() - began);
  },
};
