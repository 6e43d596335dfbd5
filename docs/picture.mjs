/**
 * `node docs/picture.mjs` (after `npm run build`): the picture of README.md, of README's first example as it is computed:
 * a sheet of the measured tensor, the three components that `cp` finds in it, and their spectra beside the true ones.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { crc32, deflateSync } from "node:zlib";
import { cp } from "../dist/index.js";
import { openEngine } from "../dist/node/index.js";

const [SAMPLES, EMISSION, EXCITATION] = [20, 60, 40];
const peak = (x, centre, width) => Math.exp(-(((x - centre) / width) ** 2));
const values = Float32Array.from({ length: SAMPLES * EMISSION * EXCITATION }, (_, n) => {
  const [sample, emission, excitation] = [Math.floor(n / 2400), Math.floor(n / 40) % 60, n % 40];
  const dye = (r) => (1.2 + Math.sin(sample * r)) * peak(emission, 15 * r, 8) * peak(excitation, 10 * r, 6);
  return dye(1) + dye(2) + dye(3);
});

const engine = await openEngine();
const { tensor } = await cp(engine, engine.tensor([SAMPLES, EMISSION, EXCITATION], values), { rank: 3 });
const [weights, concentration, emission, excitation] = await engine.read([tensor.weights, ...tensor.factors]);
engine.destroy();

const column = (factor, r) => Array.from({ length: factor.length / 3 }, (_, i) => factor[3 * i + r]);
const topOf = (list) => Math.max(...list.map(Math.abs));
const COLOURS = ["#0b62a8", "#d1490c", "#4b7d1c"];
/** components in the order in which their dyes shine */
const components = [0, 1, 2]
  .map((r) => {
    const spectrum = column(emission, r);
    const sign = Math.sign(spectrum.reduce((sum, value) => sum + value, 0));
    return { r, spectrum: spectrum.map((value) => (sign * value) / topOf(spectrum)) };
  })
  .sort((a, b) => a.spectrum.indexOf(1) - b.spectrum.indexOf(1));

/** A PNG of this colour, as opaque as the entries are large: a palette of all opacities in it, and differences of neighbours in it, which pack best. */
function png(width, height, colour, opacityAt) {
  const opacities = Array.from({ length: width * height }, (_, at) =>
    Math.round(255 * Math.min(1, Math.max(0, opacityAt(at % width, Math.floor(at / width))))),
  );
  const levels = [...new Set(opacities)].sort((a, b) => a - b);
  const indices = opacities.map((opacity) => levels.indexOf(opacity));
  const SUB = 1;
  const rows = Buffer.alloc(height * (1 + width));
  for (let y = 0; y < height; y++) {
    const row = indices.slice(y * width, (y + 1) * width);
    rows.set([SUB, ...row.map((index, x) => (index - (row[x - 1] ?? 0)) & 255)], y * (1 + width));
  }
  const chunk = (name, data) => {
    const body = Buffer.concat([Buffer.from(name, "latin1"), data]);
    const framed = Buffer.alloc(body.length + 8);
    framed.writeUInt32BE(data.length, 0);
    body.copy(framed, 4);
    framed.writeUInt32BE(crc32(body), body.length + 4);
    return framed;
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 3, 0, 0, 0], 8);
  const rgb = [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
  const bytes = Buffer.concat([
    Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]),
    chunk("IHDR", header),
    chunk("PLTE", Buffer.from(levels.flatMap(() => rgb))),
    chunk("tRNS", Buffer.from(levels)),
    chunk("IDAT", deflateSync(rows, { level: 9 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
  return `data:image/png;base64,${bytes.toString("base64")}`;
}

const SAMPLE = 1;
const sheet = Array.from(values.subarray(SAMPLE * 2400, (SAMPLE + 1) * 2400));
const [WIDTH, HEIGHT, TOP] = [180, 120, 74];
const lefts = [34, 262, 474, 686];
const image = (left, colour, opacityAt, stacked = 0) =>
  [
    ...Array.from({ length: stacked }, (_, n) => {
      const away = 5 * (stacked - n);
      return `<rect x="${left + away}" y="${TOP - away}" width="${WIDTH}" height="${HEIGHT}" fill="#fff" stroke="#b9b4aa"/>`;
    }),
    `<rect x="${left}" y="${TOP}" width="${WIDTH}" height="${HEIGHT}" fill="#fff" stroke="#b9b4aa"/>`,
    `<image x="${left}" y="${TOP}" width="${WIDTH}" height="${HEIGHT}" preserveAspectRatio="none" href="${png(60, 40, colour, opacityAt)}"/>`,
  ].join("\n");
const text = (x, y, content, more = "") => `<text x="${x}" y="${y}" ${more}>${content}</text>`;
const sign = (x, content) =>
  text(x, TOP + HEIGHT / 2 + 9, content, 'font-size="26" text-anchor="middle" fill="#5d5a54"');

const parts = [image(lefts[0], "#1c1b19", (x, y) => sheet[40 * x + y] / topOf(sheet), 4)];
const [BASE, TALL] = [TOP + HEIGHT + 104, 62];
for (const [index, { r, spectrum }] of components.entries()) {
  const left = lefts[index + 1];
  const across = column(excitation, r);
  const share = (weights[r] * column(concentration, r)[SAMPLE]) / topOf(sheet);
  const along = column(emission, r);
  parts.push(image(left, COLOURS[index], (x, y) => share * along[x] * across[y]));
  const place = (at) => (left + (at / (EMISSION - 1)) * WIDTH).toFixed(1);
  const height = (value) => (BASE - TALL * value).toFixed(1);
  const line = spectrum.map((value, at) => `${at ? "L" : "M"}${place(at)} ${height(value)}`).join("");
  const truth = Array.from({ length: EMISSION }, (_, at) => peak(at, 15 * (index + 1), 8));
  const dots = truth
    .map((value, at) => ({ value, at }))
    .filter(({ at }) => at % 4 === 0)
    .map(({ value, at }) => `<circle cx="${place(at)}" cy="${height(value)}" r="2.6" fill="none" stroke="#1c1b19"/>`);
  parts.push(
    `<line x1="${left}" x2="${left + WIDTH}" y1="${BASE}" y2="${BASE}" stroke="#dcd8d0"/>`,
    `<path d="${line}" fill="none" stroke="${COLOURS[index]}" stroke-width="2.5"/>`,
    ...dots,
    text(left, TOP - 12, `component ${index + 1}`, `fill="${COLOURS[index]}" font-weight="600"`),
  );
}
parts.push(
  text(lefts[0], 30, "20 samples, each 60 × 40", 'font-weight="600"'),
  sign(246, "="),
  sign(458, "+"),
  sign(670, "+"),
  text(lefts[0], TOP + HEIGHT + 20, "emission →", 'fill="#5d5a54"'),
  `<text transform="translate(${lefts[0] - 10} ${TOP + HEIGHT}) rotate(-90)" fill="#5d5a54">← excitation</text>`,
  text(lefts[0], BASE - 42, "emission spectra", 'font-weight="600"'),
  text(lefts[0], BASE - 23, "lines: as they were found", 'fill="#5d5a54"'),
  text(lefts[0], BASE - 5, "rings: as they are", 'fill="#5d5a54"'),
);
const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="900" height="320" viewBox="0 0 900 320" font-family="system-ui, sans-serif" font-size="14" fill="#1c1b19">
<title>A tensor of 20 samples taken apart into three dyes, whose emission spectra are found as they are</title>
<rect width="900" height="320" rx="10" fill="#fbfaf8"/>
${parts.join("\n")}
</svg>
`;
writeFileSync(join(import.meta.dirname, "public/components.svg"), svg);
console.log(`docs/public/components.svg: ${(svg.length / 1000).toFixed(0)} kB`);
