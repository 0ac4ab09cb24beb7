// A list of names, bars and percentages; buttons if a line can be chosen.
export default {
  template: `
    <ol class="bars" :aria-label="label">
      <li v-for="([name, share, value, marked], i) in lines" :key="i" :class="{ marked }">
        <component :is="buttons ? 'button' : 'span'" class="line" :type="buttons ? 'button' : null"
          :aria-current="marked ? 'true' : null" @click="buttons && $emit('choose', i)">
          <span class="name">{{ name }}</span>
          <span class="bar" aria-hidden="true"><span :style="{ width: (100 * share) / most + '%' }"></span></span>
          <span class="share">{{ value }}</span>
        </component>
      </li>
    </ol>`,
  props: { label: String, lines: Array, buttons: Boolean },
  emits: ["choose"],
  computed: {
    most() {
      return Math.max(...this.lines.map((line) => Math.abs(line[1])), 1e-9);
    },
  },
};
