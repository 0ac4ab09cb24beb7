// Reports whether it is visible: a page in the background or a hidden view needs no updates.
export default {
  template: `<div><slot></slot></div>`,
  emits: ["seen"],
  mounted() {
    this.onScreen = false;
    this.reported = null;
    this.report = () => {
      const seen = this.onScreen && document.visibilityState === "visible";
      if (seen !== this.reported) this.$emit("seen", (this.reported = seen));
    };
    this.watcher = new IntersectionObserver((entries) => {
      this.onScreen = entries[entries.length - 1].isIntersecting;
      this.report();
    });
    this.watcher.observe(this.$el);
    document.addEventListener("visibilitychange", this.report);
  },
  unmounted() {
    this.watcher.disconnect();
    document.removeEventListener("visibilitychange", this.report);
  },
};
