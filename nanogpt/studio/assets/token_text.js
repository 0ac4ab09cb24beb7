// A text with a span for each token, coloured by probability or attention; one token can be selected.
// Plain DOM, since one of a thousand tokens changes at a time. Text from a model is inserted as text, never as HTML.
const WAIT_MILLISECONDS = 120; // a mouse that only passes requests nothing

const MOST_ARCS = 12;

function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

export default {
  template: `
    <div class="token-text">
      <svg ref="arcs" class="arcs" aria-hidden="true"></svg>
      <div ref="text" class="text" dir="auto" tabindex="0" role="group" :aria-label="label" @click="clicked"
        @keydown="pressed" @pointerover="pointed" @pointerout="left"></div>
      <div ref="tip" class="tip card" role="tooltip" hidden @pointerenter="held = true" @pointerleave="release"></div>
    </div>`,
  props: { label: String, first: { type: Number, default: 1 } },
  emits: ["choose", "point", "ready"],
  mounted() {
    this.spans = [];
    this.chosen = null;
    this.shaded = [];
    this.held = false;
    this.redraw = () => this.drawArcs();
    this.watcher = new ResizeObserver(this.redraw);
    this.watcher.observe(this.$refs.text);
    this.escape = (event) => event.key === "Escape" && this.hideTip();
    document.addEventListener("keydown", this.escape);
    this.$emit("ready");
  },
  unmounted() {
    this.watcher.disconnect();
    document.removeEventListener("keydown", this.escape);
  },
  methods: {
    show(tokens, chosen) {
      this.hideTip();
      this.spans = [];
      this.chosen = null;
      this.$refs.text.replaceChildren();
      this.add(tokens);
      this.shade(null, 0, false);
      if (chosen !== null && chosen !== undefined) this.select(chosen);
    },
    add(tokens) {
      const added = document.createDocumentFragment();
      for (const [text, level, kind] of tokens) {
        const span = make("span", `token ${kind}`, text);
        span.index = this.spans.length;
        span.dataset.level = level;
        if (!text && kind !== "start") span.classList.add("open");
        if (text.startsWith("\n")) span.classList.add("newline");
        this.spans.push(span);
        added.append(span);
      }
      this.$refs.text.append(added);
    },
    select(position) {
      this.spans[this.chosen]?.classList.remove("chosen");
      this.chosen = position;
      const span = this.spans[position];
      span?.classList.add("chosen");
      if (span && this.$refs.text.contains(document.activeElement)) this.reveal(span);
      this.drawArcs();
    },
    // Bring a token into view; on a small screen the panel covers the lower half.
    reveal(span) {
      const panel = document.querySelector(".panel");
      const covered = panel && getComputedStyle(panel).position === "fixed" ? panel.offsetHeight : 0;
      const { top, bottom } = span.getBoundingClientRect(), visible = innerHeight - covered;
      if (top < 0 || bottom > visible) window.scrollBy({ top: top - visible / 2 });
    },
    // Shade the tokens from start on by weights; null goes back to probabilities.
    shade(weights, start, arcs) {
      for (const span of this.shaded) span.style.removeProperty("--weight");
      this.$refs.text.classList.toggle("attending", weights !== null);
      this.$el.classList.toggle("with-arcs", arcs);
      this.shaded = weights === null ? [] : this.spans.slice(start, start + weights.length);
      const most = weights === null ? 1 : Math.max(...weights, 1e-9);
      this.weights = weights === null ? [] : weights.map((one) => one / most);
      this.shaded.forEach((span, i) => span.style.setProperty("--weight", this.weights[i].toFixed(3)));
      this.arcs = arcs;
      this.drawArcs();
    },
    // A curve from the selected token to each that it attends to, stronger with more weight.
    drawArcs() {
      const svg = this.$refs.arcs;
      svg?.replaceChildren();
      const from = this.spans[this.chosen];
      if (!svg || !this.arcs || !from) return;
      const frame = this.$el.getBoundingClientRect();
      const middle = (span) => {
        const box = span.getClientRects()[0] ?? span.getBoundingClientRect();
        return [box.left + Math.min(box.width, 14) / 2 - frame.left, box.top - frame.top + 3];
      };
      const [x, y] = middle(from);
      const least = [...this.weights].sort((a, b) => b - a)[MOST_ARCS] ?? 0;
      this.shaded.forEach((span, i) => {
        if (span === from || this.weights[i] <= least || this.weights[i] < 0.05) return;
        const [u, v] = middle(span);
        const rise = Math.min(10 + Math.hypot(x - u, y - v) / 6, 46);
        const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
        path.setAttribute("d", `M${x},${y} C${x},${y - rise} ${u},${v - rise} ${u},${v}`);
        path.setAttribute("stroke-width", 0.75 + 2.5 * this.weights[i]);
        path.setAttribute("opacity", 0.25 + 0.75 * this.weights[i]);
        svg.append(path);
      });
    },
    choose(position) {
      this.hideTip();
      this.select(position);
      this.$emit("choose", position);
    },
    // Select the next token in a direction, or the first one that can be selected.
    move(by) {
      const first = this.first, aim = this.chosen === null ? first : this.chosen + by;
      if (this.spans.length > first) this.choose(Math.min(Math.max(aim, first), this.spans.length - 1));
    },
    clicked(event) {
      const span = event.target.closest(".token");
      if (span && span.index >= this.first) this.choose(span.index === this.chosen ? null : span.index);
    },
    pressed(event) {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
      if (event.key === "Escape") this.choose(null);
      else if (event.key in moves) this.move(moves[event.key]);
      else return;
      event.preventDefault();
    },
    pointed(event) {
      const span = event.target.closest(".token");
      clearTimeout(this.waiting);
      if (!span || event.pointerType === "touch" || span.index < 1) return;
      this.waiting = setTimeout(() => this.$emit("point", (this.wanted = span.index)), WAIT_MILLISECONDS);
    },
    left() {
      clearTimeout(this.waiting);
      this.wanted = null;
      this.hiding = setTimeout(() => this.held || this.hideTip(), 200);
    },
    release() {
      this.held = false;
      this.hideTip();
    },
    hideTip() {
      clearTimeout(this.hiding);
      clearTimeout(this.waiting);
      if (this.$refs.tip) this.$refs.tip.hidden = true; // a timer may outlive the text
    },
    // Show the predictions at a position: [[name, share, value, marked]].
    tip(position, title, lines) {
      if (position !== this.wanted) return;
      clearTimeout(this.hiding);
      const most = Math.max(...lines.map((line) => line[1]), 1e-9), list = make("ol", "bars");
      for (const [name, share, value, marked] of lines) {
        const line = make("li", marked ? "marked" : ""), bar = make("span", "bar");
        bar.append(make("span"));
        bar.firstChild.style.width = `${(100 * share) / most}%`;
        line.append(make("span", "name", name), bar, make("span", "share", value));
        list.append(line);
      }
      const tip = this.$refs.tip;
      tip.replaceChildren(make("strong", "", title), list);
      tip.hidden = false;
      const box = this.spans[position].getBoundingClientRect(), frame = this.$el.getBoundingClientRect();
      const below = box.bottom + tip.offsetHeight + 8 < innerHeight || box.top < tip.offsetHeight + 8;
      const x = Math.min(box.left, document.documentElement.clientWidth - tip.offsetWidth - 8) - frame.left;
      tip.style.left = `${x}px`;
      tip.style.top = `${(below ? box.bottom + 4 : box.top - tip.offsetHeight - 4) - frame.top}px`;
    },
    count() {
      return this.spans.length;
    },
    text() {
      return this.$refs.text.textContent;
    },
  },
};
