/**
 * What users of the package can call, as api.md keeps it: every public declaration without its comments. A change shows up as a
 * difference, so that nobody makes one unseen. `npm run api` writes the file anew.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

// TypeScript 7 has no parser to call
const ts = createRequire(join(import.meta.dirname, "typescript/6.0/package.json"))("typescript");

const root = join(import.meta.dirname, "../..");
const file = join(import.meta.dirname, "api.md");
/** the entries, by the file of their declarations */
const ENTRIES = {
  index: "tenfold",
  ops: "tenfold/ops",
  node: "tenfold/node",
  onnx: "tenfold/onnx",
  compress: "tenfold/compress",
};

/** A name as the sources have it: where two files declare the same, one is `name$1` in dist/types. */
const plain = (name) => name.replace(/\$\d+$/, "");

/** The declarations in dist/types by name, and the names that every entry exports. */
function declarations() {
  const folder = join(root, "dist/types");
  const printer = ts.createPrinter({ removeComments: true });
  const printed = new Map();
  const exported = {};
  for (const name of readdirSync(folder).sort()) {
    const source = ts.createSourceFile(name, readFileSync(join(folder, name), "utf8"), ts.ScriptTarget.ES2022, true);
    const names = [];
    const add = (local, statement, text) => {
      const declared = plain(local);
      printed.set(declared, [...(printed.get(declared) ?? []), text]);
      if (statement.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)) names.push(declared);
    };
    for (const statement of source.statements) {
      if (ts.isExportDeclaration(statement)) {
        for (const { name } of statement.exportClause?.elements ?? []) names.push(name.text);
      } else if (!ts.isImportDeclaration(statement)) {
        const text = printer
          .printNode(ts.EmitHint.Unspecified, statement, source)
          .replace(/^(?:export )?(?:declare )?/, "")
          .replace(/\w+\$\d+\b/g, plain);
        if (ts.isVariableStatement(statement))
          for (const declared of statement.declarationList.declarations) add(declared.name.text, statement, text);
        else add(statement.name.text, statement, text);
      }
    }
    exported[name.replace(/\.d\.ts$/, "")] = names;
  }
  return { printed, exported };
}

function missing(name) {
  throw new Error(`dist/types exports ${name}, but no declaration there is called so`);
}

/** The report of what dist has. */
function report() {
  const { printed, exported } = declarations();
  const lines = ["# What tenfold exports", "", "Written by `npm run api`, compared by `npm test -- package`.", ""];
  const told = new Set();
  const section = (title, names) => {
    lines.push(`## ${title}`, "");
    const again = names.filter((name) => told.has(name));
    if (again.length) lines.push(`As above: ${again.map((name) => `\`${name}\``).join(", ")}.`, "");
    lines.push("```ts");
    for (const name of names) {
      if (!told.has(name)) lines.push(...(printed.get(name) ?? missing(name)));
      told.add(name);
    }
    lines.push("```", "");
  };
  for (const [entry, title] of Object.entries(ENTRIES)) section(title, [...new Set(exported[entry])].sort());
  section("What these mention, under no name of its own", [...printed.keys()].filter((name) => !told.has(name)).sort());
  return lines.join("\n");
}

/** Where dist and api.md differ, one line each. */
export function apiProblems() {
  const [now, before] = [report(), readFileSync(file, "utf8")].map((text) => text.split("\n"));
  const change = (from, to, sign) =>
    from.filter((line) => line.trim() && !to.includes(line)).map((line) => `${sign} ${line}`);
  const changes = [...change(before, now, "-"), ...change(now, before, "+")];
  if (now.join("\n") === before.join("\n")) return [];
  return ["the public names changed; `npm run api` writes test/package/api.md anew:", ...changes];
}

if (process.argv.includes("--write")) writeFileSync(file, report());
