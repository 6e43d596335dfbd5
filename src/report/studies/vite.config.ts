import { brotliCompressSync } from "node:zlib";
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
        // nobody opens the page before a command fills it in, and packed so it is an eighth smaller in the package
        page.source = brotliCompressSync(html);
        page.fileName = "report.html.br";
      },
    },
  };
}

/**
 * What Plot brings and no chart of the reports has: maps, axes of time, and colours by the name of a scheme, a quarter of the page. Their
 * functions become one that throws, but for those that Plot calls as it loads.
 */
const LEFT_OUT: Readonly<Record<string, readonly string[]>> = {
  "d3-geo": ["geoTransform"],
  "d3-time": [],
  "d3-time-format": [],
  "d3-scale-chromatic": [],
};
const STUB = "\0left-out:";

function leaveOut(): Plugin {
  return {
    name: "tenfold-leave-out",
    enforce: "pre",
    resolveId: (id) => (id in LEFT_OUT ? STUB + id : null),
    async load(id) {
      if (!id.startsWith(STUB)) return null;
      const left = id.slice(STUB.length);
      const names = Object.keys(await import(left)).map((name) =>
        LEFT_OUT[left]!.includes(name) ? `nothing as ${name}` : `leftOut as ${name}`,
      );
      return `import { leftOut } from ${JSON.stringify(`${import.meta.dirname}/leftOut.ts`)};\nconst nothing = () => null;\nexport { ${names.join(", ")} };`;
    },
  };
}

export default defineConfig({
  root: import.meta.dirname,
  base: "./",
  plugins: [leaveOut(), inline()],
  publicDir: false,
  build: {
    outDir: "../../../dist",
    emptyOutDir: false,
    modulePreload: false,
    license: { fileName: "licenses-report.md" },
    target: "es2022",
    // packing the page takes most of the time, as it should
    rolldownOptions: { checks: { pluginTimings: false } },
  },
});
