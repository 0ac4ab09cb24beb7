// The fragment of the address, and dark mode: the system setting until a person chooses.
const KEY = "nanogpt-dark";

export default {
  template: `<button type="button" class="theme" :aria-pressed="dark ? 'true' : 'false'" @click="toggle">Dark</button>`,
  emits: ["fragment"],
  data() {
    return { dark: false, ownHash: null };
  },
  mounted() {
    const stored = this.stored();
    if (stored !== null) Quasar.Dark.set(stored);
    this.dark = Quasar.Dark.isActive;
    this.system = matchMedia("(prefers-color-scheme: dark)");
    this.follow = () => setTimeout(() => (this.dark = Quasar.Dark.isActive));
    this.system.addEventListener("change", this.follow);
    this.arrive = () => {
      if (location.hash !== this.ownHash) this.send();
    };
    window.addEventListener("hashchange", this.arrive);
    this.send();
  },
  unmounted() {
    window.removeEventListener("hashchange", this.arrive);
    this.system.removeEventListener("change", this.follow);
  },
  methods: {
    // An old Firefox decodes location.hash, but never the whole address.
    send() {
      this.ownHash = location.hash;
      this.$emit("fragment", location.href.split("#").slice(1).join("#"));
    },
    put(fragment) {
      history.replaceState(history.state, "", `#${fragment}`);
      this.ownHash = location.hash;
    },
    toggle() {
      Quasar.Dark.toggle();
      this.dark = Quasar.Dark.isActive;
      try {
        localStorage.setItem(KEY, this.dark ? "1" : "0");
      } catch {} // the browser has no storage
    },
    stored() {
      try {
        const found = localStorage.getItem(KEY);
        return found === null ? null : found === "1";
      } catch {
        return null;
      }
    },
  },
};
