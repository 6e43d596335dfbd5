import { defineConfig, type Plugin } from "vite";

/** Puts the page's script and style into the page: a report is one file, which asks no server for anything. */
function inline(): Plugin {
  return {
    name: "tenfold-inline",
    enforce: "post",
    // Vite lists the licences of the chunks first, while there still are chunks
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
  publicDir: false,
  build: {
    outDir: "../../../dist",
    emptyOutDir: false,
    modulePreload: false,
    license: { fileName: "licenses-report.md" },
    target: "es2022",
  },
});
