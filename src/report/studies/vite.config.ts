import { brotliCompressSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

/** Puts the page's script and style into the page: a report is one file, which asks no server for anything. */
function inline(): Plugin {
  return {
    name: "tenfold-inline",
    enforce: "post",
    generateBundle(_, bundle) {
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
      // nobody opens the page before a command fills it in, and packed so it is an eighth smaller in the package
      page.source = brotliCompressSync(html);
      page.fileName = "report.html.br";
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
    target: "es2022",
    // packing the page takes most of the time, as it should
    rolldownOptions: { checks: { pluginTimings: false } },
  },
});
