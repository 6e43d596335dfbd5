/** Runs cases. Node and the page use the same code, so that both measure the same. */
import { Engine } from "../src/gpu/index.js";
import { planMatmul } from "../src/ops/families/matmul.js";
import { planMttkrp } from "../src/ops/families/mttkrp.js";
import { matmul, mttkrp } from "../src/ops/index.js";
import type { Case, Peer } from "./case.js";
import { cases } from "./cases/index.js";
import { listenToDevices } from "./deviceErrors.js";
import { type MeasureOptions, measure } from "./measure.js";
import { type Probes, probe } from "./probes.js";
import type { Result } from "./result.js";

export interface Opened {
  device: string;
  peers: string[];
  probes: Probes | null;
  fineTimestamps: boolean;
}

/** Loaders of the peers' modules, by name. */
export type PeerModules = Readonly<Record<string, () => Promise<{ open(): Promise<Peer> }>>>;

export class Session {
  readonly #cases: Case[];

  private constructor(
    readonly engine: Engine,
    readonly peers: readonly Peer[],
    readonly opened: Opened,
    slim: boolean,
  ) {
    this.#cases = cases({ slim });
  }

  /** @param options.peers names of the peers to load; null for all */
  static async open(
    engine: Engine,
    modules: PeerModules,
    options: { slim?: boolean; peers?: readonly string[] | null } = {},
  ): Promise<Session> {
    const { slim = false, peers: wanted = null } = options;
    const peers: Peer[] = [];
    if (Object.keys(modules).length > 0) listenToDevices();
    for (const [name, load] of Object.entries(modules))
      if (!wanted || wanted.includes(name)) peers.push(await (await load()).open());
    await chooseKernels(engine);
    const probes = slim ? null : await probe(engine);
    const device = engine.adapterName;
    const fineTimestamps = await hasFineTimestamps(engine);
    return new Session(engine, peers, { device, peers: peers.map(({ name }) => name), probes, fineTimestamps }, slim);
  }

  /** The name of the kernel that is chosen on this adapter, by family. */
  async choices(): Promise<Record<string, string>> {
    const { engine } = this;
    const extents = { rows: 16, columns: 16, inner: 16, outer: 1 };
    const layout = { acrossOutputs: true, extents: [16] };
    const names: Record<string, string> = {};
    for (const { kernels } of [
      planMatmul(engine, extents, extents, { a: layout, b: layout }),
      planMttkrp(engine, extents, { transposed: true, isPacked: false }),
    ]) {
      const chosen = await engine.choose(kernels);
      names[kernels.name] = Object.entries(kernels.kernels).find(([, kernel]) => kernel === chosen)![0];
    }
    return names;
  }

  /** Measures the case at a place of the list. */
  async measure(index: number, options: MeasureOptions): Promise<Result> {
    const result = await measure(this.engine.device, this.#cases[index]!, this.peers, options);
    // rounded timestamps are too coarse for the time of a kernel
    if (!this.opened.fineTimestamps) for (const row of result.rows) row.kernels = row.wallToKernels = null;
    return result;
  }
}

/** Makes the engine choose its kernels before the first case, because the choice would count in that case's first run. */
async function chooseKernels(engine: Engine): Promise<void> {
  const tuned = new Engine(engine.device);
  await tuned.run((s) => {
    const a = s.tensor([64, 64]);
    matmul(s, a, a);
    const x = s.tensor([16, 16, 16]);
    const factor = s.tensor([16, 16]);
    mttkrp(s, x, [factor, factor, factor], 0);
  });
  tuned.destroy();
}

/** Whether timestamps resolve a short dispatch: browsers round them to 100 µs, Dawn to 65.5 µs. */
async function hasFineTimestamps(engine: Engine): Promise<boolean> {
  if (!engine.device.features.has("timestamp-query")) return false;
  const s = engine.scheduler("timestamps");
  const a = s.tensor([64, 64]);
  for (let i = 0; i < 8; i++) matmul(s, a, a);
  const schedule = await s.compile();
  try {
    const { ms } = await schedule.profile();
    // eight dispatches take some microseconds each; rounded, their sum is a multiple of the step, or 0
    const rounded = (step: number): boolean => Math.abs(ms / step - Math.round(ms / step)) < 1e-6;
    return ms > 0 && !rounded(0.1) && !rounded(0.065536);
  } finally {
    schedule.destroy();
  }
}
