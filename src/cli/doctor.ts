import type { Command } from "commander";
import { Engine, formatBytes, TenfoldError } from "../gpu/index.js";
import { installedDrivers, packageFolder } from "../node/driver.js";
import { requestAdapter } from "../node/open.js";
import { add } from "../ops/index.js";
import { table } from "../report/terminal.js";
import type { Context } from "./context.js";
import { rulesOn, rulesText } from "./rules.js";
import { formatSeconds, widthOf } from "./table.js";
import { tenfoldVersion, versionIn } from "./version.js";

/** Limits that decide what fits. */
const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupsPerDimension",
  "minStorageBufferOffsetAlignment",
] as const;

/** Features that kernels profit from. */
const FEATURES = ["timestamp-query", "subgroups", "shader-f16"];

/** What `tenfold doctor --json` prints. */
export interface Diagnosis {
  found: boolean;
  tenfold: string;
  node: string;
  platform: string;
  /** version of npm webgpu (Dawn), null where it is not installed */
  webgpu: string | null;
  driver: { source: "packaged SwiftShader" | "installed"; package: string | null } | null;
  /** manifests of the Vulkan drivers that are installed (Linux) */
  installed: string[];
  adapter: { vendor: string; architecture: string; device: string; description: string; software: boolean } | null;
  limits: Record<string, number>;
  features: string[];
  selfTest: {
    passed: boolean;
    elements: number;
    /** seconds to open the device, to compile, and to add and read back */
    open: number;
    compile: number;
    run: number;
  } | null;
  /** why nothing was found or the test failed, and what to install */
  problem: string | null;
}

export function addDoctor(program: Command, context: Context): void {
  program
    .command("doctor")
    .description("say which GPU or software adapter is found, and test it")
    .option("--json", "print the findings as JSON")
    .option("--rules", "print the rules by which kernels are chosen, and which of their values are in force here")
    .addHelpText(
      "after",
      [
        "",
        "Exits with 1 where no adapter is found or the test fails, and says what to",
        "install.",
        "TENFOLD_ADAPTER=system takes installed drivers only,",
        "TENFOLD_ADAPTER=swiftshader the packaged software one.",
        "",
        "Examples:",
        "  tenfold doctor",
        "  tenfold doctor --json > machine.json",
        "  tenfold doctor --rules",
        "  TENFOLD_ADAPTER=swiftshader tenfold doctor",
      ].join("\n"),
    )
    .action(async ({ json, rules }: { json?: boolean; rules?: boolean }, command: Command) => {
      if (rules) {
        const shown = await context.withEngine(async (engine) => rulesOn(engine));
        context.stdout.write(json ? `${JSON.stringify(shown, null, 2)}\n` : rulesText(shown, widthOf(context.stdout)));
        return;
      }
      const diagnosis = await diagnose();
      if (json) context.stdout.write(`${JSON.stringify(diagnosis, null, 2)}\n`);
      else {
        context.stdout.write(table(describe(diagnosis), { width: widthOf(context.stdout) }));
        if (diagnosis.problem) context.stderr.write(`\n${diagnosis.problem}\n`);
      }
      if (diagnosis.problem) command.error("", { exitCode: 1, code: "tenfold.reported" });
    });
}

async function diagnose(): Promise<Diagnosis> {
  const chromium = packageFolder("@sparticuz/chromium");
  const webgpu = packageFolder("webgpu");
  const diagnosis: Diagnosis = {
    found: false,
    tenfold: tenfoldVersion(),
    node: process.versions.node,
    platform: `${process.platform} ${process.arch}`,
    webgpu: webgpu && versionIn(webgpu),
    driver: null,
    // looked at before the packaged driver becomes the one that the environment names
    installed: process.platform === "linux" ? installedDrivers() : [],
    adapter: null,
    limits: {},
    features: [],
    selfTest: null,
    problem: null,
  };
  const started = performance.now();
  let engine: Engine | undefined;
  try {
    const { adapter, packaged, software } = await requestAdapter();
    const { vendor, architecture, device, description } = adapter.info;
    diagnosis.found = true;
    diagnosis.driver = {
      source: packaged ? "packaged SwiftShader" : "installed",
      package: packaged && chromium ? `@sparticuz/chromium ${versionIn(chromium)}` : null,
    };
    diagnosis.adapter = { vendor, architecture, device, description, software };
    diagnosis.features = [...adapter.features].sort();
    for (const limit of LIMITS) diagnosis.limits[limit] = adapter.limits[limit];
    engine = await Engine.fromAdapter(adapter);
    diagnosis.selfTest = await selfTest(engine, (performance.now() - started) / 1000);
    if (!diagnosis.selfTest.passed)
      diagnosis.problem = `The adapter adds wrongly: ${engine.adapterName}. Update its driver, or set TENFOLD_ADAPTER=swiftshader.`;
  } catch (error) {
    if (!(error instanceof TenfoldError)) throw error;
    diagnosis.problem = error.message;
  } finally {
    engine?.destroy();
  }
  return diagnosis;
}

/** Adds a million whole numbers, which f32 does exactly, and reads the sums back. */
async function selfTest(engine: Engine, open: number): Promise<NonNullable<Diagnosis["selfTest"]>> {
  const elements = 2 ** 20;
  const values = Float32Array.from({ length: elements }, (_, i) => i);
  using a = engine.tensor([elements], values, { label: "self test" });
  using out = engine.tensor([elements], null, { label: "self test" });
  const started = performance.now();
  const s = engine.scheduler("self test");
  add(s, a, a, { out });
  using schedule = await s.compile();
  const compiled = performance.now();
  engine.submit(schedule);
  const sums = await engine.read(out);
  const done = performance.now();
  return {
    passed: values.every((value, index) => sums[index] === 2 * value),
    elements,
    open,
    compile: (compiled - started) / 1000,
    run: (done - compiled) / 1000,
  };
}

function describe(diagnosis: Diagnosis): string[][] {
  const { tenfold, node, platform, webgpu } = diagnosis;
  const rows = [
    ["tenfold", `${tenfold} on Node ${node}, ${platform}`],
    ["webgpu", webgpu ? `npm webgpu ${webgpu} (Dawn)` : "npm webgpu is not installed"],
  ];
  if (diagnosis.adapter && diagnosis.driver) {
    const { vendor, architecture, device, description, software } = diagnosis.adapter;
    const name = [...new Set([vendor, architecture, device, description].filter(Boolean))].join(", ");
    const slow = software ? "\na software adapter: results are right, speed is that of a CPU" : "";
    rows.push(["adapter", `${name || "unnamed"}${slow}`]);
    const { source, package: from } = diagnosis.driver;
    rows.push(["driver", from ? `${source}, from npm ${from}` : [source, ...diagnosis.installed].join("\n")]);
    const missing = FEATURES.filter((feature) => !diagnosis.features.includes(feature));
    const present = FEATURES.filter((feature) => diagnosis.features.includes(feature)).join(", ") || "none that helps";
    rows.push(["features", missing.length ? `${present} (not: ${missing.join(", ")})` : present]);
    const limits = Object.entries(diagnosis.limits).map(([name, value]) => {
      return [name, /Size$/.test(name) ? formatBytes(value) : String(value)].join(" ");
    });
    rows.push(["limits", limits.join("\n")]);
  } else if (diagnosis.platform.startsWith("linux")) {
    rows.push(["drivers", diagnosis.installed.join("\n") || "none installed"]);
  }
  if (diagnosis.selfTest) {
    const { passed, elements, open, compile, run } = diagnosis.selfTest;
    rows.push([
      "self test",
      `${passed ? "passed" : "FAILED"}: ${elements} sums added and read back in ${formatSeconds(run)}; ` +
        `opened in ${formatSeconds(open)}, compiled in ${formatSeconds(compile)}`,
    ]);
  }
  return rows;
}
