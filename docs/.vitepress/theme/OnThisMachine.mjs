/** The benchmark of the demo page, which runs where the reader is. It loads when it is asked for. */
import { useData, withBase } from "vitepress";
import { defineComponent, h, ref } from "vue";

export default defineComponent({
  name: "OnThisMachine",
  setup() {
    const { isDark } = useData();
    const address = ref("");
    const open = () => {
      address.value = withBase(`/demo/index.html?embedded=${isDark.value ? "dark" : "light"}#kernels`);
    };
    return () =>
      h("div", { class: "on-this-machine" }, [
        address.value
          ? h("iframe", { src: address.value, title: "The benchmark, on this machine" })
          : h("button", { type: "button", class: "run", onClick: open }, "Open the benchmark here"),
        h("p", [h("a", { href: withBase("/demo/index.html#kernels"), target: "_self" }, "Open it as a page")]),
      ]);
  },
});
