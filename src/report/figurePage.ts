/** Facts and figures as one HTML file, which asks nobody for anything. */
import { csvFile, type Figure, svgFile } from "./figure.js";
import { PAGE, words } from "./svg.js";

const STYLE = `:root{--page:#fbfaf8;--card:#fff;--text:#1c1b19;--quiet:#5d5a54;--line:#dcd8d0;--accent:#0b62a8;--mark:#d1490c;--warm:#d55e00;--cold:#0072b2;--zero:#f4f3f1;color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
@media(prefers-color-scheme:dark){:root{--page:#16171a;--card:#1f2125;--text:#eceae6;--quiet:#aaa69e;--line:#3a3d43;--accent:#7cbcf2;--mark:#ff9d5c;--warm:#ff9d5c;--cold:#63b3ed;--zero:#2a2d33}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1000px;padding:1rem;background:var(--page);color:var(--text)}
h1{margin:0 0 .4rem;font-size:1.7rem;overflow-wrap:anywhere}h2{margin:0 0 .3rem;font-size:1.1rem}p{color:var(--quiet);margin:.2rem 0 .6rem;max-width:80ch}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem;margin:1rem 0}
.picture{overflow-x:auto}svg{max-width:100%;min-width:640px;height:auto;display:block}dl{display:grid;grid-template-columns:auto 1fr;gap:.2rem 1rem;margin:0}dt{color:var(--quiet)}dd{margin:0;overflow-wrap:anywhere}
a,button{color:var(--accent)}button{font:inherit;background:none;border:0;padding:0;text-decoration:underline;cursor:pointer}@media(max-width:600px){dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.4rem}}@media print{section{break-inside:avoid}}`;

/** What a figure's link to a PNG does: it draws the SVG of the link before it, two pixels for one. */
const PNG = `const {name}=this.dataset,image=new Image();image.onload=()=>{const canvas=document.createElement("canvas");canvas.width=2*image.width;canvas.height=2*image.height;const context=canvas.getContext("2d");context.fillStyle="#fff";context.fillRect(0,0,canvas.width,canvas.height);context.drawImage(image,0,0,canvas.width,canvas.height);const link=document.createElement("a");link.download=name+".png";link.href=canvas.toDataURL();link.click()};image.setAttribute("src",this.previousElementSibling.href)`;

/** characters of a figure's numbers that the page holds, as a link to a CSV file; it has none where they are more */
const MOST_CSV = 400_000;

/** What a page of figures shows. */
export interface FigurePage {
  title: string;
  /** a line below the title */
  lead: string;
  facts: readonly (readonly [name: string, text: string])[];
  figures: Iterable<Figure>;
  /** markup before and behind the figures */
  start?: string;
  end?: string;
}

/** The page in pieces, one a figure. Figures are drawn 940 pixels wide. */
export function* figurePage({ title, lead, facts, figures, start = "", end = "" }: FigurePage): Generator<string> {
  yield `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>${words(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${words(title)}</h1>
<p>${words(lead)}</p>
<section><dl>${facts.map(([name, text]) => `<dt>${words(name)}</dt><dd>${words(text)}</dd>`).join("")}</dl></section>
${start}`;
  for (const figure of figures) yield `${sectionOf(figure)}\n`;
  yield `${end}</main>\n</body>\n</html>\n`;
}

function sectionOf(figure: Figure): string {
  const picture = figure.draw(940, PAGE).replace("<svg ", `<svg role="img" aria-label="${words(figure.label)}" `);
  const link = (ending: string, type: string, text: string, content: string): string =>
    `<a download="${words(figure.id)}.${ending}" href="data:${type};charset=utf-8,${encodeURIComponent(content)}">${text}</a>`;
  const table = csvFile(figure, MOST_CSV);
  const links = [
    link("svg", "image/svg+xml", "SVG", svgFile(figure)),
    `<button type="button" data-name="${words(figure.id)}" onclick="${words(PNG)}">PNG</button>`,
    ...(table === null ? [] : [link("csv", "text/csv", "numbers as CSV", table)]),
  ];
  return `<section id="${words(figure.id)}"><h2>${words(figure.title)}</h2><p>${words(figure.words)}</p><div class="picture" tabindex="0" role="group" aria-label="${words(figure.title)}">${picture}</div><p>${links.join(" · ")}</p>${figure.below ?? ""}</section>`;
}
