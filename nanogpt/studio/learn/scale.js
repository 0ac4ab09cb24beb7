// A slider over named places: minutes, or the steps of a run. Its value is a place, what is read out is its name.
export default {
  template: `
    <div class="field">
      <label :for="uid"><span>{{ label }} <output>{{ names[current] }}</output></span></label>
      <input :id="uid" v-model.number="current" type="range" min="0" :max="Math.max(0, names.length - 1)" step="1"
        :disabled="names.length < 2" :aria-valuetext="names[current]" @input="$emit('change', current)">
    </div>`,
  props: { label: String, names: Array, place: Number, turn: Number },
  emits: ["change"],
  data() {
    return { current: this.place, uid: `scale-${Math.random().toString(36).slice(2)}` };
  },
  watch: {
    turn() {
      this.$nextTick(() => (this.current = this.place));
    },
  },
};
