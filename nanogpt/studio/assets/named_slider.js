// A slider over a list of names: minutes, or the steps of a run. Its value is an index, read out as its name.
export default {
  template: `
    <div class="field">
      <label :for="uid"><span>{{ label }} <output>{{ names[current] }}</output></span></label>
      <input :id="uid" v-model.number="current" type="range" min="0" :max="Math.max(0, names.length - 1)" step="1"
        :disabled="names.length < 2" :aria-valuetext="names[current]" @input="$emit('change', current)">
    </div>`,
  props: { label: String, names: Array, index: Number, turn: Number },
  emits: ["change"],
  data() {
    return { current: this.index, uid: `scale-${Math.random().toString(36).slice(2)}` };
  },
  watch: {
    turn() {
      this.$nextTick(() => (this.current = this.index));
    },
  },
};
