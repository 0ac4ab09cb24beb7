// A text to train on: typed, pasted, chosen or dropped as a file. It is sent in one request when the page asks for it.
export default {
  template: `
    <div class="drop" :class="{ over }" @dragover.prevent="over = true" @dragleave="over = false" @drop.prevent="dropped">
      <label>
        <span>Your text</span>
        <textarea v-model="typed" rows="6" dir="auto" spellcheck="false" autocapitalize="off"
          :disabled="file !== null" :aria-describedby="uid" @input="changed"></textarea>
      </label>
      <p class="hint" :id="uid">Paste a text here, or drop a file on it: {{ kinds }}; up to {{ most }} MB, plain text in UTF-8.</p>
      <div class="buttons">
        <button type="button" @click="$refs.chooser.click()">Choose a file</button>
        <button v-if="file" type="button" @click="forget">Leave {{ file.name }} out</button>
        <span v-if="file">{{ file.name }}, {{ size }}</span>
      </div>
      <input ref="chooser" type="file" hidden :accept="kinds" aria-label="Choose a file" tabindex="-1" @change="chosen">
      <p v-if="problem" class="warning" role="alert">{{ problem }}</p>
    </div>`,
  props: { url: String, kinds: String, limit: Number },
  emits: ["change"],
  data() {
    return { typed: "", file: null, over: false, problem: "", uid: `upload-${Math.random().toString(36).slice(2)}` };
  },
  computed: {
    most() {
      return Math.floor(this.limit / 1e6);
    },
    size() {
      return `${Math.ceil(this.file.size / 1000).toLocaleString("en")} kB`;
    },
  },
  methods: {
    changed() {
      this.problem = "";
      // Reported at once, and once for many letters, so that it never arrives after the request that follows.
      if (!this.reported) this.$emit("change");
      this.reported = true;
    },
    take(file) {
      if (!file) return;
      const known = this.kinds.split(", ").some((kind) => file.name.toLowerCase().endsWith(kind));
      this.changed();
      this.problem = !known ? `Files of this kind are not accepted: choose ${this.kinds}.`
        : file.size > this.limit ? `This file is larger than ${this.most} MB.` : "";
      this.file = this.problem ? null : file;
    },
    chosen(event) {
      this.take(event.target.files[0]);
      event.target.value = "";
    },
    dropped(event) {
      this.over = false;
      this.take(event.dataTransfer.files[0]);
    },
    forget() {
      this.file = null;
      this.changed();
    },
    // Return {name} of the stored text, or {problem}.
    async send() {
      this.reported = false;
      if (!this.file && !this.typed.trim()) return { problem: "there is no text yet: paste one, or choose a file" };
      const headers = { "X-File-Name": this.file ? encodeURIComponent(this.file.name) : "" };
      try {
        const answer = await fetch(this.url, { method: "POST", headers, body: this.file ?? this.typed });
        return await answer.json();
      } catch {
        return { problem: "the text could not be sent: is the studio still running?" };
      }
    },
  },
};
