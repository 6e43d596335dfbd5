/** Figures and numbers as files, made bit by bit so that the page stays free. */
import type { FigureOptions } from "../../../src/report/decomposition.js";
import { decompositionPieces } from "../../../src/report/decompositionPage.js";
import { csvPieces, type Figure, svgFile } from "../../../src/report/figure.js";
import type { DecompositionData } from "../../../src/report/model.js";
import { saveFile } from "../controls.js";
import { breathe } from "../digits.js";

/** pixels of a figure in a file, and how many times finer a PNG is */
const WIDTH = 900;
const FINENESS = 2;

/** A text that is put together in many tasks. */
async function gathered(pieces: Iterable<string>): Promise<string[]> {
  const parts: string[] = [];
  let since = performance.now();
  for (const piece of pieces) {
    parts.push(piece);
    if (performance.now() - since < 8) continue;
    await breathe();
    since = performance.now();
  }
  return parts;
}

export type FigureFile = "SVG" | "PNG" | "CSV";

export async function saveFigure(figure: Figure, kind: FigureFile, name: string): Promise<void> {
  const file = `${name}-${figure.id}.${kind.toLowerCase()}`;
  if (kind === "CSV") saveFile(file, new Blob(await gathered(csvPieces(figure))), "text/csv");
  else if (kind === "SVG") saveFile(file, svgFile(figure, WIDTH), "image/svg+xml");
  else saveFile(file, await pngOf(svgFile(figure, WIDTH)), "image/png");
}

/** The picture on white. */
async function pngOf(svg: string): Promise<Blob> {
  const url = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [FINENESS * image.naturalWidth, FINENESS * image.naturalHeight];
    const context = canvas.getContext("2d")!;
    context.fillStyle = "white";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve, reject) => {
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The browser made no PNG of it"))), "image/png");
    });
  } finally {
    URL.revokeObjectURL(url);
  }
}

export async function saveReport(data: DecompositionData, options: FigureOptions, name: string): Promise<void> {
  saveFile(`${name}-report.html`, new Blob(await gathered(decompositionPieces(data, options))), "text/html");
}
