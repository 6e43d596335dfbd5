import { defineConfig, type Plugin } from "vite";

/** Puts the page's script and style into the page, so that the report is one file that asks nobody for anything. */
function inline(): Plugin {
  return {
    name: "tenfold-inline",
    enforce: "post",
    // after Vite has listed the licences of what the chunks hold
    generateBundle: {
      order: "post",
      handler: (_, bundle) => {
        const page = Object.values(bundle).find((file) => file.fileName.endsWith(".html"));
        if (page?.type !== "asset") return;
        let html = String(page.source);
        for (const file of Object.values(bundle)) {
          const tag = (pattern: string): RegExp =>
            new RegExp(pattern.replace("NAME", file.fileName.replaceAll(".", "\\.")));
          if (file.type === "chunk") {
            const script = file.code.replaceAll("</script", "<\\/script");
            html = html.replace(tag('<script[^>]*src="[^"]*NAME"[^>]*></script>'), "");
            html = html.replace("</body>", () => `<script type="module">${script}</script>\n</body>`);
          } else if (file.fileName.endsWith(".css"))
            html = html.replace(tag('<link[^>]*href="[^"]*NAME"[^>]*>'), () => `<style>${file.source}</style>`);
          else continue;
          delete bundle[file.fileName];
        }
        page.source = html;
        page.fileName = "report.html";
      },
    },
  };
}

export default defineConfig({
  root: import.meta.dirname,
  base: "./",
  plugins: [inline()],
  // the trained LeNet that `tenfold compare --quick` decomposes goes to dist as it is
  publicDir: "../../experiments/models",
  build: {
    outDir: "../../../dist",
    emptyOutDir: false,
    modulePreload: false,
    license: { fileName: "licenses-report.md" },
    target: "es2022",
  },
});
