// A labelled native field. The label refers to it by id: of the two labelable elements of a slider it would take the
// first, which shows the value. What was typed stays when the page is drawn again.
export default {
  template: `
    <div class="field">
      <label :for="uid">
        <span>{{ label }}<output v-if="kind === 'range'"> {{ current }}</output></span>
        <textarea v-if="kind === 'textarea'" :id="uid" v-model="current" :rows="rows" dir="auto" spellcheck="false"
          autocapitalize="off" :maxlength="most" :aria-describedby="described" @input="typed" @change="changed"
          @keydown="pressed"></textarea>
        <select v-else-if="kind === 'select'" :id="uid" v-model="current" :aria-describedby="described" @change="changed">
          <option v-for="[value, name] in options" :key="value" :value="value">{{ name }}</option>
        </select>
        <input v-else :id="uid" v-model="current" :type="kind" :min="min" :max="max" :step="step" :placeholder="placeholder"
          :inputmode="kind === 'number' ? 'decimal' : null" autocomplete="off" :aria-describedby="described"
          @input="changed" @keydown="pressed">
      </label>
      <p v-if="help" :id="described" :class="warning ? 'warning' : 'hint'">{{ help }}</p>
    </div>`,
  props: {
    kind: String, label: String, value: String, turn: Number, options: Array, help: String, warning: Boolean,
    rows: { type: Number, default: 2 }, most: { type: Number, default: 200000 }, min: [String, Number], max: [String, Number], step: [String, Number],
    placeholder: String,
  },
  emits: ["change", "enter"],
  data() {
    return { current: this.value, uid: `field-${Math.random().toString(36).slice(2)}` };
  },
  computed: {
    described() {
      return this.help ? `${this.uid}-help` : null;
    },
  },
  watch: {
    value(value) {
      this.current = value;
    },
    turn() {
      this.current = this.value;
    },
  },
  methods: {
    // A long text is not sent at every key.
    typed() {
      clearTimeout(this.waiting);
      this.waiting = setTimeout(() => this.changed(), 150);
    },
    changed() {
      clearTimeout(this.waiting);
      this.$emit("change", String(this.current));
    },
    pressed(event) {
      const plain = this.kind !== "textarea";
      if (event.key !== "Enter" || !(plain || event.ctrlKey || event.metaKey)) return;
      this.changed();
      this.$emit("enter");
    },
  },
};
