/** A page of the site for every run of the benchmark that was recorded, as the command wrote it. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const results = join(import.meta.dirname, "../../bench/results");

export default {
  paths: () =>
    readdirSync(results)
      .filter((file) => file.endsWith(".md"))
      .map((file) => {
        const [title, ...rest] = readFileSync(join(results, file), "utf8").split("\n");
        const [adapter, runtime, day] = title.replace(/ \(.*\)/, "").split(", ");
        const heading = `${adapter}, ${runtime.split(/[ /]/)[0]}, ${day.split(" ")[0]}`;
        const content = `# ${heading}\n\nA [recorded run of the benchmark](/benchmarks): ${title}.\n${rest.join("\n")}`;
        return { params: { name: file.replace(/\.md$/, "") }, content };
      }),
};
