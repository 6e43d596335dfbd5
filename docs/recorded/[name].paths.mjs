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
        const content = `# ${title}\n\nA [recorded run of the benchmark](/benchmarks).\n${rest.join("\n")}`;
        return { params: { name: file.replace(/\.md$/, "") }, content };
      }),
};
