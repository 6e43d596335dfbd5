/**
 * Makes the figures of docs/gallery.md, and the lines there that say how each run ended: `node docs/gallery.mjs DATA`, on the built package. DATA is the
 * folder with measured data that docs/galleryData.py has written:
 *
 *     python3 docs/galleryData.py DATA
 *     node docs/gallery.mjs DATA
 *
 * With `--only NAME` one run, with `--out FOLDER` nothing of the page is changed: figures and lines go there.
 */
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

const root = resolve(import.meta.dirname, "..");
const { readNpy, writeNpy } = await import(join(root, "dist/index.js"));

/** `count` numbers from `first` on, of so many digits behind the point. */
const steps = (count, first, step, digits = 1) =>
  Array.from({ length: count }, (_, at) => String(Number((first + step * at).toFixed(digits))));

const LIGANDS =
  "IL-2 mono|IL-15 mono|WT N-term biv|H16N N-term biv|R38Q N-term biv|R38Q/H16N biv|WT N-term mono|H16N N-term mono|WT C-term mono|V91K C-term mono|R38Q N-term mono|F42Q N-term mono|N88D C-term mono";
const ELECTRODES = "AF3|F7|F3|FC5|T7|P7|O1|O2|P8|T8|FC6|F4|F8|AF4";
const CELLS = "Treg hi|Treg|Treg lo|Thelper hi|Thelper|Thelper lo|CD8+|NK";

/** Kinetic fluorescence as it was measured: what the second file marks is missing. */
function kinetic(data) {
  const x = readNpy(readFileSync(join(data, "Kinetic.npy")));
  const marks = readNpy(readFileSync(join(data, "Kinetic_missing.npy"))).data;
  return { ...x, data: x.data.map((value, at) => (marks[at] ? Number.NaN : value)) };
}

const RUNS = {
  kinetic: {
    x: kinetic,
    options: ["--rank", "4", "--missing", "--nonnegative"],
    labels: { 1: steps(12, 472, 7.5), 2: steps(10, 362, 6), 3: steps(60, 1 / 3, 1 / 3) },
    figures: ["factor-1", "factor-2", "factor-3"],
  },
  il2: {
    file: "IL2_Response_Tensor.npy",
    options: ["--rank", "3", "--missing", "--nonnegative"],
    labels: { 0: LIGANDS.split("|"), 1: ["4 h", "2 h", "1 h", "½ h"], 3: CELLS.split("|") },
    figures: ["factor-0", "factor-2", "factor-3"],
  },
  serology: {
    file: "COVID19_data.npy",
    options: ["--rank", "2"],
    labels: {
      1: ["S", "RBD", "N", "S1", "S2", "S1 trimer"],
      2: "IgG1|IgG2|IgG3|IgA1|IgA2|IgM|FcRα|FcR2A|FcR2B|FcR3A|FcR3B".split("|"),
    },
    figures: ["factor-1", "factor-2"],
  },
  bikes: {
    file: "bikes.npy",
    options: ["--rank", "3", "--missing", "--nonnegative"],
    labels: {
      0: steps(24, 0, 1),
      1: "Sun|Mon|Tue|Wed|Thu|Fri|Sat".split("|"),
      2: steps(53, 1, 1),
      3: ["casual", "registered"],
    },
    figures: ["factor-0", "factor-1", "factor-2"],
  },
  eeg: {
    file: "eeg.npy",
    options: ["--rank", "3", "--nonnegative"],
    labels: { 0: ELECTRODES.split("|"), 1: steps(43, 3, 1), 2: steps(61, 0.5, 0.25, 2) },
    figures: ["factor-0", "factor-1", "factor-2"],
  },
  pines: {
    file: "Indian_pines_corrected.npy",
    options: ["--rank", "8", "--nonnegative", "--image", "0,1"],
    labels: {},
    figures: ["images", "factor-2"],
  },
};

const { values: asked, positionals } = parseArgs({
  allowPositionals: true,
  options: { only: { type: "string" }, out: { type: "string" } },
});
const [data] = positionals;
if (!data || !existsSync(join(data, "IL2_Response_Tensor.npy"))) {
  console.error("gallery: needs the folder of data; the head of docs/gallery.mjs says how");
  process.exit(2);
}
if (asked.only !== undefined && !RUNS[asked.only]) {
  console.error(`gallery: there is no ${asked.only}; there are ${Object.keys(RUNS).join(", ")}`);
  process.exit(2);
}
const out = asked.out ? resolve(asked.out) : join(root, "docs/public/gallery");
mkdirSync(out, { recursive: true });
const page = join(root, "docs/gallery.md");
const lines = {};
for (const [name, { file, x, options, labels, figures }] of Object.entries(RUNS)) {
  if (asked.only && asked.only !== name) continue;
  const folder = mkdtempSync(join(tmpdir(), "tenfold-gallery-"));
  try {
    if (x) {
      const { shape, data: values } = x(data);
      writeFileSync(join(folder, `${name}.npy`), writeNpy({ shape, data: values }));
    } else cpSync(join(data, file), join(folder, `${name}.npy`));
    for (const [mode, texts] of Object.entries(labels))
      writeFileSync(join(folder, `${mode}.txt`), `${texts.join("\n")}\n`);
    const named = Object.keys(labels).flatMap((mode) => ["--labels", `${mode}:${mode}.txt`]);
    const args = ["decompose", `${name}.npy`, ...options, ...named, "--report", "report", "--json", "run.json"];
    execFileSync(process.execPath, [join(root, "dist/cli.js"), ...args], {
      cwd: folder,
      stdio: ["ignore", "ignore", "inherit"],
    });
    const { relativeError, starts, sweeps, shape, known, parameters } = JSON.parse(
      readFileSync(join(folder, "run.json"), "utf8"),
    );
    for (const figure of figures) cpSync(join(folder, "report", `${figure}.svg`), join(out, `${name}-${figure}.svg`));
    const entries = shape.reduce((product, extent) => product * extent, 1);
    const missing = known ? `, ${(100 * (1 - known / entries)).toFixed(1)} % of them missing` : "";
    lines[name] =
      `${shape.join(" × ")} entries${missing}. The model's ${parameters.toLocaleString("en")} numbers explain ${(100 * (1 - relativeError ** 2)).toFixed(1)} % of their squares (error ${relativeError.toFixed(3)}); ${starts.agreeing} of ${starts.errors.length} starts ended at it, after ${sweeps} iterations.`;
    console.log(`${name}: ${lines[name]}`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
if (asked.out) writeFileSync(join(out, "lines.json"), `${JSON.stringify(lines, null, 1)}\n`);
else {
  let text = readFileSync(page, "utf8");
  for (const [name, line] of Object.entries(lines))
    text = text.replace(new RegExp(`(<!-- ${name} -->\n).*?(\n<!-- /${name} -->)`, "s"), `$1${line}$2`);
  writeFileSync(page, text);
}
