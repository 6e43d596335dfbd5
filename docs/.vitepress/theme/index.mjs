import theme from "vitepress/theme-without-fonts";
import OnThisMachine from "./OnThisMachine.mjs";
import Sample from "./Sample.mjs";
import "./style.css";

export default {
  ...theme,
  enhanceApp(context) {
    theme.enhanceApp?.(context);
    const { app, router } = context;
    app.component(Sample.name, Sample);
    app.component(OnThisMachine.name, OnThisMachine);
    router.onAfterRouteChange = () => {
      if (typeof document === "undefined") return;
      requestAnimationFrame(() => {
        const content = document.querySelector("#VPContent");
        // pages with a <main> of their own need no second one
        if (content?.querySelector("main")) content.removeAttribute("role");
        else content?.setAttribute("role", "main");
      });
    };
  },
};
