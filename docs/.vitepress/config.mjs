/** The site of docs/: `npm run docs` builds it into dist/docs, static and without a request to another host. */
import { cpSync, existsSync, readdirSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { defineConfig } from "vitepress";
import { wgsl } from "../../shaders/loader.js";
import { isSample } from "./samples/code.js";

const docs = resolve(import.meta.dirname, "..");
const root = resolve(docs, "..");
const demo = resolve(docs, "../dist/demo");

const GUIDE = [
  ["Tensors as data", "tensors"],
  ["Which decomposition when", "which"],
  ["How many components", "rank"],
  ["Missing and non-negative", "missing"],
  ["Larger than memory", "large"],
  ["Several machines", "cluster"],
  ["… on one machine", "cluster-laptop"],
  ["… by Slurm", "cluster-slurm"],
  ["… on Kubernetes", "cluster-kubernetes"],
  ["Matrices", "matrices"],
  ["Networks", "networks"],
  ["Inside a WebGPU program", "embedding"],
  ["Memory", "memory"],
  ["Workers", "workers"],
  ["Adapters and speed", "adapters"],
  ["What accuracy is promised", "accuracy"],
  ["Coming from another library", "coming-from"],
];
const API = existsSync(join(docs, "api"))
  ? readdirSync(join(docs, "api")).map((file) => file.replace(/\.md$/, ""))
  : [];

/**
 * Links to files outside of docs/: those to README lead to the page that includes it, those to recorded runs to their pages, and others become their
 * text, as the site does not have them. README's own links and picture begin at the root of the repository.
 */
function linksWithin(md) {
  const open = md.renderer.rules.link_open ?? ((tokens, at, options, _, self) => self.renderToken(tokens, at, options));
  const placeOf = (href, path) => {
    if (/^(?:[a-z]+:|#|\/)/.test(href)) return href;
    if (/\bdecisions\/README\.md$/.test(href)) return "/decisions/";
    if (/^docs\//.test(href)) return href.replace(/^docs/, "");
    const recorded = /\bbench\/results\/(.+)\.md$/.exec(href);
    if (recorded) return `/recorded/${recorded[1]}`;
    const from = path === join(docs, "readme.md") ? root : dirname(path ?? docs);
    const target = relative(root, resolve(from, href.split("#")[0])).replaceAll("\\", "/");
    if (target === "README.md") return href.replace(/^[^#]*/, "/readme");
    return target.startsWith("docs/") ? href : null;
  };
  md.core.ruler.push("links_within", ({ tokens, env }) => {
    for (const { children } of tokens) {
      const opened = [];
      for (const token of children ?? []) {
        if (token.type === "image") token.attrSet("src", token.attrGet("src").replace(/^docs\/public/, ""));
        if (token.type === "link_close" && opened.pop()) token.tag = "span";
        if (token.type !== "link_open") continue;
        const place = placeOf(token.attrGet("href"), env.path);
        opened.push(place === null);
        if (place !== null) token.attrSet("href", place);
        else {
          token.tag = "span";
          token.attrs = [["class", "outside"]];
        }
      }
    }
  });
  md.renderer.rules.link_open = (tokens, at, options, env, self) =>
    tokens[at].tag === "span" ? self.renderToken(tokens, at, options) : open(tokens, at, options, env, self);
}

/** A table's corner without words is no heading: a screen reader would announce an empty one. */
function emptyCorners(md) {
  md.core.ruler.push("empty_corners", ({ tokens }) => {
    for (const [at, token] of tokens.entries()) {
      if (token.type !== "th_open" || tokens[at + 1].content.trim()) continue;
      token.tag = "td";
      tokens[at + 2].tag = "td";
    }
  });
}

/** Drawn figures keep the size of their words: a narrow screen scrolls them, with the keyboard too. */
function reachableFigures(md) {
  const image = md.renderer.rules.image;
  md.renderer.rules.image = (tokens, index, options, env, self) => {
    const picture = image(tokens, index, options, env, self);
    const { attrs, content } = tokens[index];
    if (!attrs.some(([name, value]) => name === "src" && /gallery\/.*\.svg$/.test(value))) return picture;
    return `<span class="figure" tabindex="0" role="group" aria-label="${md.utils.escapeHtml(content)}">${picture}</span>`;
  };
}

/** Indented code scrolls where it is wide, and so is reached by the keyboard, as fenced code is. */
function reachableCode(md) {
  const { code_block: render } = md.renderer.rules;
  md.renderer.rules.code_block = (...of) => render(...of).replace("<pre", '<pre tabindex="0"');
}

/** Code that can run by itself gets a button for it. */
function runnableSamples(md) {
  const { fence } = md.renderer.rules;
  md.renderer.rules.fence = (tokens, at, ...of) => {
    const code = fence(tokens, at, ...of);
    const { info, content } = tokens[at];
    return isSample(info.trim(), content) ? `<RunnableSample>${code}</RunnableSample>` : code;
  };
}

export default defineConfig({
  title: "tenfold",
  description: "Tensor decompositions and decomposed neural networks on WebGPU, from TypeScript",
  lang: "en",
  // where the site stands on its host, with a slash at both ends
  base: process.env.DOCS_BASE ?? "/",
  rewrites: { "decisions/README.md": "decisions/index.md" },
  outDir: "../dist/docs",
  cacheDir: "../.cache/vitepress",
  cleanUrls: false,
  head: [["link", { rel: "icon", href: "data:," }]],
  markdown: {
    config(md) {
      linksWithin(md);
      emptyCorners(md);
      reachableCode(md);
      reachableFigures(md);
      runnableSamples(md);
    },
  },
  vite: {
    // the worker of samples has all of the library in it, and loads when one is run
    build: { chunkSizeWarningLimit: 1000 },
    plugins: [wgsl()],
    // samples run in a worker, with the library's modules as they are here
    worker: {
      format: "es",
      plugins: () => [wgsl()],
      rolldownOptions: { checks: { pluginTimings: false, ineffectiveDynamicImport: false } },
    },
  },
  // the demo page, of which the benchmark is a part
  buildEnd({ outDir }) {
    if (!existsSync(demo)) throw new Error("npm run build makes the demo page, which is part of the site");
    cpSync(demo, join(outDir, "demo"), { recursive: true });
  },
  // the theme's first page has no main landmark; theme/index.mjs does the same where one comes to it by a link
  transformHtml: (code, _, { pageData }) =>
    pageData.frontmatter.layout === "home" ? code.replace('id="VPContent"', 'id="VPContent" role="main"') : undefined,
  themeConfig: {
    nav: [
      { text: "Guide", link: "/readme" },
      { text: "Gallery", link: "/gallery" },
      { text: "API", link: "/api/decompositions" },
      { text: "Benchmarks", link: "/benchmarks" },
      { text: "Demo", link: "/demo/index.html", target: "_self" },
    ],
    sidebar: [
      {
        text: "Guide",
        items: [
          { text: "First steps", link: "/readme" },
          ...GUIDE.map(([text, page]) => ({ text, link: `/guide/${page}` })),
        ],
      },
      {
        text: "Reference",
        items: [
          { text: "Files of results", link: "/files" },
          { text: "API", collapsed: true, items: API.map((page) => ({ text: page, link: `/api/${page}` })) },
        ],
      },
      {
        text: "Figures",
        items: [
          { text: "Gallery of measured data", link: "/gallery" },
          { text: "Benchmarks", link: "/benchmarks" },
          { text: "The study of digits", link: "/study" },
        ],
      },
      { text: "How it is built", items: [{ text: "Recorded decisions", link: "/decisions/" }] },
    ],
    outline: { level: [2, 3] },
    // the label begins as the link's text does
    notFound: { linkLabel: "Take me home" },
    search: { provider: "local" },
  },
});
