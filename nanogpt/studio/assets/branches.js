// Texts that branch from each other, as buttons.
export default {
  template: `
    <ol class="branches" :aria-label="label">
      <li v-for="([name, depth, current], i) in items" :key="i" :style="{ marginInlineStart: Math.min(depth, 6) + 'em' }">
        <button type="button" :aria-current="current ? 'true' : null" @click="$emit('go', i)">{{ name }}</button>
      </li>
    </ol>`,
  props: { label: String, items: Array },
  emits: ["go"],
};
