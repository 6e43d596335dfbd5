/**
 * The pages of the API, docs/api/*.md: every public name with what its TSDoc says, from the declarations in dist/types that
 * `npm run build` writes. A page is a folder of src.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const types = join(import.meta.dirname, "../dist/types");
const to = join(import.meta.dirname, "api");

/** What each page is about. */
const PAGES = {
  gpu: "The engine, tensors and schedules",
  tensors: "Results of decompositions, and what can be done with them",
  sources: "What decompositions read",
  decompositions: "Decompositions of tensors and matrices",
  nn: "Layers, networks and training",
  compress: "A trained network in, a factorised one out",
  ops: "Operations, recorded into schedules",
  io: "Files: bytes to arrays and back",
  node: "Node: engines, files",
  onnx: "ONNX models",
};

/** The declarations of a file: their kind, their name, their TSDoc and their code. */
function declarationsOf(text) {
  const declarations = [];
  let doc = "";
  const lines = text.split("\n");
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at];
    if (line.startsWith("/**")) {
      const from = at;
      while (!lines[at].includes("*/")) at++;
      doc = lines.slice(from, at + 1).join("\n");
    } else {
      const named = /^(?:declare )?(?:abstract )?(class|function|const|type|interface) ([\w$]+)/.exec(line);
      if (!named) continue;
      const from = at;
      const isBlock = ["class", "interface"].includes(named[1]);
      const isLast = (text) => (isBlock ? /^(?:\S.*)?\}$/.test(text) : /^\S.*;$/.test(text));
      while (at < lines.length - 1 && !isLast(lines[at])) at++;
      const code = lines.slice(from, at + 1).join("\n");
      declarations.push({ kind: named[1], name: named[2], doc, code: code.replaceAll(/^declare /gm, "") });
      doc = "";
    }
  }
  return declarations;
}

/** TSDoc as Markdown. What Vue would read as a tag or as code is escaped. */
function markdownOf(doc) {
  const lines = doc
    .replace(/^\/\*\*\s?|\s*\*\/$/g, "")
    .split("\n")
    .map((line) => line.replace(/^\s*\* ?/, ""));
  let fenced = false;
  return lines
    .map((line) => {
      if (line.startsWith("```")) fenced = !fenced;
      if (fenced || line.startsWith("```")) return line;
      return line
        .replace(/\{@link ([^}]+)\}/g, "`$1`")
        .replace(/^@param ([\w.]+) ?/, "\n*$1*: ")
        .replace(/^@(throws|returns) /, (_, tag) => `\n*${tag}*: `)
        .replace(/^@example ?(.*)/, "\n*Example*: $1\n")
        .split(/(`[^`]*`)/)
        .map((part) => (part.startsWith("`") ? part : part.replaceAll("<", "&lt;").replaceAll("{{", "&#123;&#123;")))
        .join("");
    })
    .join("\n");
}

const { exports } = JSON.parse(readFileSync(join(types, "../../package.json"), "utf8"));
/** the doors of the package, by the files of their declarations: `ops` is that of `tenfold/ops` */
const DOORS = Object.fromEntries(
  Object.entries(exports)
    .filter(([, { types: file }]) => file)
    .map(([door, { types: file }]) => [/(\w+)\.d\.ts$/.exec(file)[1], door.replace(/^\./, "tenfold")]),
);
const files = Object.fromEntries(
  ["shared", ...Object.keys(DOORS)].map((name) => [name, readFileSync(join(types, `${name}.d.ts`), "utf8")]),
);
/** names in shared.d.ts, by those under which it exports them */
const shared = new Map([...files.shared.matchAll(/([\w$]+) as ([\w$]+)/g)].map(([, local, name]) => [name, local]));
const declared = new Map();
for (const [file, text] of Object.entries(files))
  for (const one of declarationsOf(text)) {
    const key = `${file} ${one.name}`;
    // overloads of a function stand together
    const earlier = declared.get(key);
    if (earlier) earlier.code += `\n${one.code}`;
    else declared.set(key, one);
  }

/** the folder of src that a name of `tenfold` comes from */
const folders = new Map(
  [...readFileSync(join(types, "../../src/index.ts"), "utf8").matchAll(/\{([^{}]*)\} from "\.\/(\w+)\//g)].flatMap(
    ([, names, folder]) => names.split(",").map((name) => [name.replace("type ", "").trim(), folder]),
  ),
);
const pages = new Map(Object.keys(PAGES).map((page) => [page, new Map()]));
const unknown = [];
for (const [file, door] of Object.entries(DOORS)) {
  const [, list] = /^export \{ (.*) \};?$/m.exec(files[file]);
  for (const entry of list.split(", ")) {
    const [local, name = local] = entry.replace(/^type /, "").split(" as ");
    const one =
      declared.get(`${file} ${local}`) ??
      [shared.get(local), local, name].map((one) => declared.get(`shared ${one}`)).find(Boolean);
    if (!one) {
      unknown.push(`${door}: ${name}`);
      continue;
    }
    const page = file === "index" ? folders.get(name) : file;
    const known = [...pages.values()].map((entries) => entries.get(name)).find((entry) => entry?.from === one);
    if (known) known.doors.push(door);
    else pages.get(page).set(name, { ...one, from: one, name, doors: [door], code: one.code.replaceAll(local, name) });
  }
}
if (unknown.length) throw new Error(`docs/api.mjs finds no declaration of ${unknown.join(", ")}`);

rmSync(to, { recursive: true, force: true });
mkdirSync(to, { recursive: true });
let count = 0;
for (const [page, entries] of pages) {
  const text = [`# ${PAGES[page]}`, ""];
  const sorted = [...entries.values()].sort((a, b) => a.name.localeCompare(b.name, "en"));
  for (const { kind, name, doors, doc, code } of sorted) {
    count++;
    text.push(`## ${name}`, "", `${kind} of ${doors.map((door) => `\`${door}\``).join(", ")}`, "");
    text.push(markdownOf(doc), "", "```ts", code, "```", "");
  }
  writeFileSync(join(to, `${page}.md`), text.join("\n"));
}
console.log(`docs/api: ${count} names`);
