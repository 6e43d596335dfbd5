import theme from "vitepress/theme-without-fonts";
import "./style.css";

export default {
  ...theme,
  enhanceApp(context) {
    theme.enhanceApp?.(context);
    const { router } = context;
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
