// The address's fragment, and light or dark: what the system prefers until a person says otherwise.
const KEY = "nanogpt-dark";

export default {
  template: `<button type="button" class="theme" :aria-pressed="dark ? 'true' : 'false'" @click="toggle">Dark</button>`,
  emits: ["fragment"],
  data() {
    return { dark: false, own: null };
  },
  mounted() {
    const kept = this.kept();
    if (kept !== null) Quasar.Dark.set(kept);
    this.dark = Quasar.Dark.isActive;
    this.system = matchMedia("(prefers-color-scheme: dark)");
    this.follow = () => setTimeout(() => (this.dark = Quasar.Dark.isActive));
    this.system.addEventListener("change", this.follow);
    this.arrive = () => {
      if (location.hash !== this.own) this.tell();
    };
    window.addEventListener("hashchange", this.arrive);
    this.tell();
  },
  unmounted() {
    window.removeEventListener("hashchange", this.arrive);
    this.system.removeEventListener("change", this.follow);
  },
  methods: {
    // location.hash of an old Firefox is decoded; the whole address never is.
    tell() {
      this.own = location.hash;
      this.$emit("fragment", location.href.split("#").slice(1).join("#"));
    },
    put(fragment) {
      history.replaceState(history.state, "", `#${fragment}`);
      this.own = location.hash;
    },
    toggle() {
      Quasar.Dark.toggle();
      this.dark = Quasar.Dark.isActive;
      try {
        localStorage.setItem(KEY, this.dark ? "1" : "0");
      } catch {} // a browser that keeps nothing
    },
    kept() {
      try {
        const found = localStorage.getItem(KEY);
        return found === null ? null : found === "1";
      } catch {
        return null;
      }
    },
  },
};
