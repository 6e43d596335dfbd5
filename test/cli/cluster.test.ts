/** A tensor whose blocks are with other processes: a small dispatcher stands in place of Dask. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterAll, describe, expect, it } from "vitest";
import { AskingShards } from "../../src/cli/cluster/askingShards.js";
import { type Pipe, serveShard, writeFrame } from "../../src/cli/cluster/shardProcess.js";
import { tenfoldVersion } from "../../src/cli/version.js";
import { cp } from "../../src/decompositions/index.js";
import { type Frame, FrameReader, readNpz } from "../../src/io/index.js";
import { type HostArray, type Joining, joinAnswers, type ShardAnswer, sharded } from "../../src/sources/index.js";
import { kruskal } from "../decompositions/planted.js";
import { testEngine } from "../engine.js";
import { randomArray } from "../reference.js";
import { command } from "./command.js";

const SHAPE = [9, 5, 4];
const ROW = 20;
const clean = kruskal(
  SHAPE.map((extent, mode) => randomArray(2 * extent, 3 + mode)),
  SHAPE,
  2,
);
const values = Float32Array.from(clean, (value, at) => value + 0.01 * Math.sin(at * at));
const X = { shape: SHAPE, format: "f32", missing: false };
const folder = mkdtempSync(join(tmpdir(), "cluster-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** One end of a pipe, and what the other end does. */
interface End {
  frames: FrameReader;
  pipe: Pipe;
}

const endOf = (input: AsyncIterable<Uint8Array>, output: NodeJS.WritableStream): End => {
  const pipe: Pipe = {
    input,
    async write(bytes) {
      if (!output.write(bytes)) await once(output, "drain");
    },
  };
  return { frames: new FrameReader(input, "test"), pipe };
};

/** Two ends of one pipe. */
function pipeOf(): [here: End & { end(): void }, there: Pipe] {
  const [down, up] = [new PassThrough(), new PassThrough()];
  return [{ ...endOf(up, down), end: () => void down.end() }, endOf(down, up).pipe];
}

const blockOf = (start: number, rows: number) => {
  const bytes = new Uint8Array(values.buffer, 4 * ROW * start, 4 * ROW * rows);
  return { numbers: { shape: [bytes.length], data: bytes } };
};

interface Asked {
  start: number;
  rows: number;
  keep: boolean;
  sent: boolean;
}

/** Asks one shard, and sends it the blocks. */
async function askShard(
  end: End,
  question: unknown,
  arrays: Frame["arrays"],
  blocks: readonly Asked[],
): Promise<Frame> {
  await writeFrame(end.pipe, { verb: "ask", question, blocks }, arrays);
  for (const { start, rows, sent } of blocks)
    if (sent) await writeFrame(end.pipe, { verb: "block" }, blockOf(start, rows));
  return (await end.frames.next())!;
}

/** Answers what comes from the one who asks, until that ends: by way of shards, which have some blocks each. */
async function dispatch(asker: End, shards: readonly End[], blocks: readonly (readonly [number, number])[][]) {
  for (const shard of shards) {
    await writeFrame(shard.pipe, { verb: "open", x: X });
    expect((await shard.frames.next())!.header).toEqual({ verb: "opened" });
  }
  const known = new Set<number>();
  let printed = "";
  for (let frame = await asker.frames.next(); frame; frame = await asker.frames.next()) {
    const { header, arrays } = frame;
    if (header.verb === "print") {
      printed += Buffer.from(arrays.content!.data as Uint8Array).toString();
      continue;
    }
    if (header.verb === "hello") {
      await writeFrame(asker.pipe, { verb: "x", name: "X", shape: SHAPE, missing: false, blockRows: 3 });
      continue;
    }
    const answers = await Promise.all(
      shards.map(async (shard, index): Promise<ShardAnswer> => {
        const asked = blocks[index]!.map(([start, rows], place): Asked => {
          const sent = !known.has(start);
          if (place === 0) known.add(start);
          return { start, rows, sent, keep: place === 0 };
        });
        const { header: told, arrays: answered } = await askShard(shard, header.question, arrays, asked);
        expect(told.verb).toBe("answer");
        return {
          ranges: told.ranges as ShardAnswer["ranges"],
          arrays: answered as Record<string, HostArray & { joining: Joining }>,
        };
      }),
    );
    const { ranges, arrays: sums } = joinAnswers(answers);
    await writeFrame(asker.pipe, { verb: "answer", ranges }, sums as Frame["arrays"]);
  }
  return printed;
}

const FACTS = { verb: "facts", exponent: 0, weight: 1 };

describe("a shard", () => {
  it("says its version, answers, and goes on after an error", async () => {
    const engine = await testEngine();
    const { live } = engine.memory();
    const [here, there] = pipeOf();
    const served = serveShard(engine, there);
    await writeFrame(here.pipe, { verb: "hello" });
    expect((await here.frames.next())!.header).toMatchObject({
      verb: "hello",
      version: tenfoldVersion(),
      protocol: 1,
      adapter: engine.adapterName,
    });
    const block = { start: 0, rows: 2, keep: true, sent: true };
    expect((await askShard(here, FACTS, {}, [block])).header).toMatchObject({
      verb: "error",
      message: "shard: asked before a tensor was opened",
    });
    await writeFrame(here.pipe, { verb: "open", x: { ...X, format: "u8", missing: true } });
    expect((await here.frames.next())!.header.message).toContain("u8 has no NaN");
    await writeFrame(here.pipe, { verb: "open", x: X });
    expect((await here.frames.next())!.header).toEqual({ verb: "opened" });
    const missed = await askShard(here, FACTS, {}, [{ ...block, sent: false }]);
    expect(missed.header.message).toContain("rows from 0 on are not here");
    // a chunk that cannot be read
    await writeFrame(here.pipe, { verb: "ask", question: FACTS, blocks: [block, { ...block, start: 2 }] });
    await writeFrame(here.pipe, { verb: "cancel", message: "X.zarr: rows 0 to 2 cannot be read" });
    expect((await here.frames.next())!.header).toEqual({
      verb: "error",
      code: "FILE",
      message: "X.zarr: rows 0 to 2 cannot be read",
    });
    // blocks of a question that is wrong are read away
    const wrong = await askShard(here, { ...FACTS, verb: "guess" }, {}, [block, { ...block, start: 2 }]);
    expect(wrong.header.message).toContain("guess is no verb of this version of tenfold");
    const few = { "rows of factor 0": { shape: [3, 1], data: new Float32Array(3) } };
    const short = await askShard(here, { ...FACTS, verb: "mttkrp", mode: 1 }, few, [block]);
    expect(short.header.message).toContain("rows of factor 0 is 3×1, needs 9 rows");
    const { header, arrays } = await askShard(here, FACTS, {}, [block, { ...block, start: 4, keep: false }]);
    expect(header).toMatchObject({ verb: "answer", ranges: [[0, 2], [4, 2]] }); // biome-ignore format: ranges
    const seen = [...values.subarray(0, 2 * ROW), ...values.subarray(4 * ROW, 6 * ROW)];
    expect(arrays.squaredNorm!.data[0]).toBeCloseTo(
      seen.reduce((sum, value) => sum + value ** 2, 0),
      4,
    );
    expect(arrays.largest!.data[0]).toBe(Math.max(...seen.map(Math.abs)));
    // a run has ended: nothing is left of its tensor, and the next run may open another
    await writeFrame(here.pipe, { verb: "close" });
    expect((await here.frames.next())!.header).toEqual({ verb: "closed" });
    expect(engine.memory().live).toBe(live);
    const late = await askShard(here, FACTS, {}, [block]);
    expect(late.header.message).toBe("shard: asked before a tensor was opened");
    here.end();
    await served;
  });
});

describe("those who ask", () => {
  it("get sums of two shards through pipes", async () => {
    const engine = await testEngine();
    const [asker, toAsk] = pipeOf();
    const [first, one] = pipeOf();
    const [second, two] = pipeOf();
    const served = [serveShard(engine, one), serveShard(engine, two)];
    void dispatch(asker, [first, second], [[[0, 3], [6, 3]], [[3, 3]]]); // biome-ignore format: blocks
    using x = await sharded(engine, await AskingShards.open(toAsk));
    using whole = engine.tensor(SHAPE, values);
    const options = { rank: 2, tolerance: 0, sweeps: 30, seed: 1, starts: 1, initialize: "random" } as const;
    const ours = await cp(engine, x, options);
    const theirs = await cp(engine, whole, options);
    expect(ours.relativeError).toBeCloseTo(theirs.relativeError, 5);
    ours.tensor.destroy();
    theirs.tensor.destroy();
    first.end();
    second.end();
    await Promise.all(served);
    asker.end();
  });

  it("hear of what goes wrong", async () => {
    const [asker, toAsk] = pipeOf();
    const opened = AskingShards.open(toAsk);
    expect((await asker.frames.next())!.header).toMatchObject({ verb: "hello", protocol: 1 });
    await writeFrame(asker.pipe, { verb: "x", name: "X", shape: SHAPE, missing: false, blockRows: 3 });
    const shards = await opened;
    const engine = await testEngine();
    const failing = expect(sharded(engine, shards)).rejects.toMatchObject({
      message: "cluster: worker tcp://a has no adapter",
      code: "FILE",
    });
    await asker.frames.next();
    await writeFrame(asker.pipe, { verb: "error", message: "worker tcp://a has no adapter", code: "FILE" });
    await failing;
    asker.end();
    await expect(sharded(engine, shards)).rejects.toThrow("the program that asks the workers has ended");
  });
});

describe("the command", () => {
  it("says what is missing where there is no Python", async () => {
    const env = { TENFOLD_PYTHON: join(folder, "no-python") };
    const { code, stderr } = await command(["decompose", "X.zarr", "--rank", "2", "--workers", "2"], { env });
    expect(code).toBe(2);
    expect(stderr).toContain("cannot be started");
    expect(stderr).toContain("install Python 3.10 or newer");
    expect(stderr).toContain('pip install "tenfold[cluster]"');
    const both = await command(["decompose", "X.zarr", "--rank", "2", "--workers", "2", "--scheduler", "tcp://h:1"]);
    expect(both.stderr).toContain("--scheduler and --workers: give one of them");
  });
});

/** built by npm ci; an older build knows nothing of shards */
const cli = join(import.meta.dirname, "../../dist/cli.js");
const isBuilt = existsSync(cli) && readFileSync(cli, "utf8").includes("TENFOLD_CLUSTER");

describe.runIf(isBuilt)("processes", () => {
  it("decompose a tensor that two of them hold, in a third", async () => {
    const started: ChildProcess[] = [];
    const start = (role: string, words: readonly string[] = []) => {
      const env = { ...process.env, TENFOLD_CLUSTER: role };
      const child = spawn(process.execPath, [cli, ...words], { env, stdio: ["pipe", "pipe", "ignore"] });
      started.push(child);
      return { child, ...endOf(child.stdout, child.stdin) };
    };
    try {
      const shards = [start("shard"), start("shard")];
      const out = join(folder, "result.npz");
      const words = ["decompose", "X.zarr", "--rank", "2", "--algorithm", "als", "--sweeps", "4", "--out", out];
      const asker = start("ask", words);
      const exit = once(asker.child, "exit");
      const printed = await dispatch(asker, shards, [[[0, 3], [6, 3]], [[3, 3]]]); // biome-ignore format: blocks
      expect((await exit)[0]).toBe(0);
      expect(printed).toContain("CP, rank 2");
      expect(readNpz(readFileSync(out), out).get("factor_1")!.shape).toEqual([5, 2]);
      const ends = shards.map(({ child }) => once(child, "exit"));
      for (const { child } of shards) child.stdin!.end();
      for (const end of ends) expect((await end)[0]).toBe(0);
    } finally {
      for (const child of started) child.kill();
    }
  }, 60_000);
});
