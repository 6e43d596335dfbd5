/** A sample of the guide, which can be changed and run: its code is the slot, as Markdown renders it. */
import { computed, defineComponent, h, onBeforeUnmount, onMounted, ref } from "vue";

export default defineComponent({
  name: "RunnableSample",
  setup(_, { slots }) {
    const box = ref(null);
    const lines = ref([]);
    const status = ref("");
    const failure = ref("");
    const isRunning = ref(false);
    const isChanged = ref(false);
    const hasRun = computed(() => lines.value.length > 0 || failure.value || status.value);
    let worker = null;
    let first = "";

    const codeBox = () => box.value.querySelector("pre code");

    function stop(words) {
      worker?.terminate();
      worker = null;
      isRunning.value = false;
      status.value = words;
    }

    function run() {
      stop("");
      [lines.value, failure.value] = [[], ""];
      if (!("gpu" in navigator)) {
        failure.value =
          "This browser has no WebGPU, which samples need: Chrome and Edge 113, Safari 26 and Firefox 141, or newer, have it.";
        return;
      }
      isRunning.value = true;
      status.value = "running…";
      worker = new Worker(new URL("../samples/worker.ts", import.meta.url), { type: "module" });
      worker.onmessage = ({ data }) => {
        if (data.line !== undefined) lines.value = [...lines.value, data.line];
        else {
          failure.value = data.failed ?? "";
          stop(data.done ?? "");
        }
      };
      worker.onerror = ({ message }) => {
        failure.value = message || "The sample could not be started.";
        stop("");
      };
      worker.postMessage(codeBox().textContent);
    }

    function reset() {
      stop("");
      codeBox().innerHTML = first;
      isChanged.value = false;
      [lines.value, failure.value] = [[], ""];
    }

    onMounted(() => {
      const code = codeBox();
      first = code.innerHTML;
      code.setAttribute("contenteditable", "plaintext-only");
      code.setAttribute("role", "textbox");
      code.setAttribute("aria-multiline", "true");
      code.setAttribute("aria-label", "Code, which can be changed");
      code.spellcheck = false;
      code.addEventListener("input", () => {
        isChanged.value = true;
      });
      code.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
        event.preventDefault();
        run();
      });
    });
    onBeforeUnmount(() => stop(""));

    const button = (text, onClick, name = "") => h("button", { type: "button", class: name, onClick }, text);
    return () =>
      h("div", { class: "sample", ref: box }, [
        slots.default(),
        h("div", { class: "bar" }, [
          isRunning.value ? button("Stop", () => stop("stopped")) : button("Run", run, "run"),
          isChanged.value ? button("Undo changes", reset) : null,
          h(
            "span",
            { class: "status", role: "status" },
            status.value || (hasRun.value ? "" : "on this machine; the code can be changed"),
          ),
        ]),
        hasRun.value
          ? h("div", { class: "said", "aria-live": "polite" }, [
              lines.value.length ? h("pre", { tabindex: 0 }, lines.value.join("\n")) : null,
              failure.value ? h("p", { class: "failure" }, failure.value) : null,
            ])
          : null,
      ]);
  },
});
