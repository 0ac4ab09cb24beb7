// Names at points of a plane.
const WIDTH = 640, HEIGHT = 400, EDGE = 26;

export default {
  template: `
    <svg class="plane" :viewBox="'0 0 ${WIDTH} ${HEIGHT}'" role="img" :aria-label="label">
      <polyline v-if="joined" :points="placed.map(([x, y]) => x + ',' + y).join(' ')"></polyline>
      <text v-for="([x, y, name, marked], i) in placed" :key="i" :x="x" :y="y" :text-anchor="x > 560 ? 'end' : x < 80 ? 'start' : 'middle'"
        dominant-baseline="middle" :class="{ marked }">{{ name }}</text>
    </svg>`,
  props: { points: Array, label: String, joined: Boolean },
  computed: {
    placed() {
      const scale = (k, size, turn) => {
        const values = this.points.map((point) => point[k]), least = Math.min(...values), most = Math.max(...values);
        const share = (value) => (most > least ? (value - least) / (most - least) : 0.5);
        return (value) => EDGE + (size - 2 * EDGE) * (turn ? 1 - share(value) : share(value));
      };
      const x = scale(0, WIDTH, false), y = scale(1, HEIGHT, true);
      return this.points.map(([u, v, name, marked]) => [x(u), y(v), name, marked]);
    },
  },
};
