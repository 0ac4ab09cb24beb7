// Attention of one head: a square for each pair of tokens, the one that attends in the row, the one attended to in the
// column. A caption describes the square under the mouse, or the one that the arrow keys moved to.
const UNIT = 12, EDGE = 52; // sizes of a square and of the names
const MAX_NAME = 6; // characters

export default {
  template: `
    <figure class="map">
      <div tabindex="0" role="group" :aria-label="label + '. The arrow keys go through it.'" :aria-describedby="uid"
        @keydown="pressed">
        <svg :viewBox="'0 0 ' + (EDGE + size) + ' ' + (EDGE + size)" aria-hidden="true" @pointermove="pointed"
          @pointerleave="cell = null" @click="clicked">
          <rect class="row" :x="EDGE" :y="EDGE + UNIT * row" :width="size" :height="UNIT"></rect>
          <template v-for="(line, i) in weights" :key="i">
            <rect v-for="[j, weight] in seen(line)" :key="j" class="weight" :x="EDGE + UNIT * j" :y="EDGE + UNIT * i"
              :width="UNIT" :height="UNIT" :fill-opacity="Math.sqrt(weight)"></rect>
          </template>
          <text v-for="(name, i) in names" :key="'r' + i" class="name" :class="{ here: i === row }" :x="EDGE - 3"
            :y="EDGE + UNIT * (i + 0.8)" text-anchor="end">{{ short(name) }}</text>
          <text v-for="(name, i) in names" :key="'c' + i" class="name" text-anchor="start"
            :transform="'translate(' + (EDGE + UNIT * (i + 0.8)) + ' ' + (EDGE - 3) + ') rotate(-90)'">{{ short(name) }}</text>
          <rect v-if="cell" class="cell" :x="EDGE + UNIT * cell[1]" :y="EDGE + UNIT * cell[0]" :width="UNIT"
            :height="UNIT"></rect>
        </svg>
      </div>
      <figcaption :id="uid" aria-live="polite">{{ caption }}</figcaption>
    </figure>`,
  props: { names: Array, weights: Array, row: Number, first: Number, label: String },
  emits: ["choose"],
  data() {
    return { cell: null, UNIT, EDGE, uid: `map-${Math.random().toString(36).slice(2)}` };
  },
  computed: {
    size() {
      return UNIT * this.names.length;
    },
    caption() {
      const [i, j] = this.cell ?? [this.row, this.most(this.row)];
      const weight = this.weights[i]?.[j];
      if (weight === undefined) return "";
      const name = (k) => `${this.names[k]} (token ${this.first + k + 1})`;
      const share = `${(100 * weight).toFixed(1)} %`;
      return i === j ? `${name(i)} looks at itself: ${share}` : `${name(i)} looks at ${name(j)}, ${i - j} back: ${share}`;
    },
  },
  watch: {
    weights() {
      this.cell = null;
    },
  },
  methods: {
    short: (name) => (name.length > MAX_NAME ? `${name.slice(0, MAX_NAME)}…` : name),
    // Squares too faint to see are left out.
    seen: (line) => Array.from(line.entries()).filter(([, weight]) => weight >= 0.004),
    most(i) {
      const line = this.weights[i] ?? [];
      return line.indexOf(Math.max(...line));
    },
    at(event) {
      const box = event.currentTarget.getBoundingClientRect(), scale = (EDGE + this.size) / box.width;
      const index = (offset) => Math.floor((offset * scale - EDGE) / UNIT);
      const i = index(event.clientY - box.top), j = index(event.clientX - box.left);
      return i >= 0 && i < this.names.length && j >= 0 && j <= i ? [i, j] : null;
    },
    pointed(event) {
      this.cell = this.at(event);
    },
    clicked(event) {
      const cell = this.at(event);
      if (cell) this.$emit("choose", this.first + cell[0]);
    },
    pressed(event) {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      const [i, j] = this.cell ?? [this.row, this.most(this.row)];
      if (event.key === "Enter") this.$emit("choose", this.first + i);
      else if (event.key === "Escape") this.cell = null;
      else if (event.key in moves) {
        const row = Math.min(Math.max(i + moves[event.key][0], 0), this.names.length - 1);
        this.cell = [row, Math.min(Math.max(j + moves[event.key][1], 0), row)];
      } else return;
      event.preventDefault();
    },
  },
};
