// A small picture of each head's attention: a row for each layer, each head a button.
export default {
  template: `
    <div class="heads" role="group" aria-label="Attention of each head">
      <div v-for="(heads, layer) in layers" :key="layer" class="layer">
        <span class="layer-name">Layer {{ layer + 1 }}</span>
        <div class="layer-heads" :style="{ '--heads': heads.length }">
          <button v-for="([picture, description, off], head) in heads" :key="head" type="button" :class="{ off }"
            :aria-label="description" :title="description" :aria-pressed="marked(layer, head) ? 'true' : 'false'"
            @click="$emit('choose', layer, head)"><img :src="picture" alt=""></button>
        </div>
      </div>
    </div>`,
  props: { layers: Array, chosen: Array },
  emits: ["choose"],
  methods: {
    marked(layer, head) {
      return this.chosen?.[0] === layer && this.chosen?.[1] === head;
    },
  },
};
