/**
 * `node bench/page/record.mjs`: records what the page shows where there is no WebGPU (see recorded.ts), and the README's
 * picture; `node bench/page/record.mjs compress` records this part only.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { build, runnerImport } from "vite";

const here = import.meta.dirname;
process.chdir(resolve(here, "../.."));
await build({ configFile: join(here, "vite.config.ts"), logLevel: "error" });
const { module } = await runnerImport(resolve("test/browser/launch.ts"));
const served = await module.serve(resolve("dist/demo"));
const browser = await module.launch();
const page = await browser.newPage();
mkdirSync(join(here, "recorded"), { recursive: true });
const asked = process.argv.slice(2);
for (const [name, state] of [
  ["decompose", "images=1000&rank=3"],
  ["train", "images=10000"],
  ["compress", "method=tucker2&ratio=4"],
]) {
  if (asked.length && !asked.includes(name)) continue;
  await page.goto("about:blank");
  await page.goto(`${served.url}#${name}?${state}`);
  await page.waitForSelector(".runner[data-state=done]", { timeout: 300_000 });
  if (name === "compress") {
    await page.click("#tuner button");
    await page.waitForSelector("#tuner[data-state=done]", { timeout: 600_000 });
  }
  const recorded = await page.evaluate(() => window.demo.record());
  const text = JSON.stringify(recorded);
  writeFileSync(join(here, `recorded/${name}.json`), `${text}\n`);
  console.log(`recorded/${name}.json: ${Math.round(text.length / 1000)} kB`);
}
if (!asked.length) {
  await page.setViewport({ width: 1180, height: 765 });
  await page.goto("about:blank");
  await page.goto(`${served.url}#decompose?digits=0123456789&images=10000&rank=12`);
  await page.waitForSelector(".runner[data-state=done]", { timeout: 300_000 });
  await page.waitForSelector(".picked:not(:empty)");
  await page.$eval(".sticky", (slider) => scrollTo(0, slider.getBoundingClientRect().top));
  await new Promise((resolve) => setTimeout(resolve, 2000));
  await page.screenshot({ path: join(here, "demo.png") });
}
await browser.close();
await served.close();
