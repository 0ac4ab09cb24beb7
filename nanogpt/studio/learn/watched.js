// Tells whether it can be seen: a page in the background, or a view that is hidden, asks for nothing.
export default {
  template: `<div><slot></slot></div>`,
  emits: ["seen"],
  mounted() {
    this.inside = false;
    this.told = null;
    this.tell = () => {
      const seen = this.inside && document.visibilityState === "visible";
      if (seen !== this.told) this.$emit("seen", (this.told = seen));
    };
    this.watcher = new IntersectionObserver((entries) => {
      this.inside = entries[entries.length - 1].isIntersecting;
      this.tell();
    });
    this.watcher.observe(this.$el);
    document.addEventListener("visibilitychange", this.tell);
  },
  unmounted() {
    this.watcher.disconnect();
    document.removeEventListener("visibilitychange", this.tell);
  },
};
