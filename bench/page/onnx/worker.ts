/**
 * Compresses ONNX models in a worker: fits on the GPU, and the model runs in onnxruntime's WebAssembly, which is loaded when a model
 * is first run. The model's bytes are read from the user's file when they are needed and dropped afterwards.
 */
import {
  type CompressedOnnx,
  imageInput,
  OnnxCompression,
  type OnnxFeeds,
  type OnnxSession,
  type OnnxSessions,
  runtimeSessions,
  type SampleDifference,
  samplesOf,
} from "../../../src/compress/onnx/index.js";
import { OutputJudge } from "../../../src/compress/onnx/outputs.js";
import { batches, batchGroups, splitSamples } from "../../../src/compress/onnx/samples.js";
import { timesInTurns } from "../../../src/compress/onnx/times.js";
import { Engine, readNpy, readNpz } from "../../../src/index.js";
import { inlineExternal } from "../../../src/onnx/cut.js";
import {
  activationRanges,
  foldOnnx,
  type OnnxModel,
  type OnnxSite,
  onnxSites,
  quantiseOnnx,
  readOnnx,
  writeOnnx,
} from "../../../src/onnx/index.js";
import type { WorstSample } from "../../../src/report/compressionPage.js";
import { sampleImage } from "../../../src/report/sampleImage.js";
import type { FittedLayer, FromCompressor, ImageSettings, Job, ModelInfo, ToCompressor, Version } from "./messages.js";
import { extentsOf, openInputs, randomFeeds } from "./shapes.js";

const tell = (message: FromCompressor): void => postMessage(message);

let source: { file: Blob; name: string; beside: ReadonlyMap<string, Blob> } | null = null;
/** null: none but random inputs */
let samples: OnnxFeeds[] | null = null;
let controller = new AbortController();
/** the model with its samples or with shapes of its inputs, and what is known of its layers, which serves every budget */
let network: { key: string; compression: OnnxCompression } | null = null;
/** of the versions, by their ids, in the order in which they were made */
const files = new Map<string, Blob>();

/** Weights in files beside the model are read where they are needed. */
async function external(location: string, offset: number, length: number): Promise<Uint8Array> {
  const name = location.split("/").at(-1)!;
  const file = source!.beside.get(name);
  if (!file) throw new Error(`The model keeps weights in ${name}. Drop that file together with the model`);
  return new Uint8Array(await file.slice(offset, offset + length).arrayBuffer());
}
const bytesOf = async (blob: Blob): Promise<Uint8Array> => new Uint8Array(await blob.arrayBuffer());
const modelOf = (bytes: Uint8Array): OnnxModel => readOnnx(bytes, { file: source!.name, external });

// ---- what is made once

let opening: Promise<Engine> | null = null;
function openEngine(): Promise<Engine> {
  opening ??= Engine.create();
  opening.catch(() => (opening = null));
  return opening;
}

let loading: Promise<OnnxSessions> | null = null;
/** onnxruntime-web is part of the page, and asks no other host. */
function loadRuntime(): Promise<OnnxSessions> {
  loading ??= Promise.all([
    import("onnxruntime-web/wasm"),
    import("onnxruntime-web/ort-wasm-simd-threaded.wasm?url"),
  ]).then(([ort, wasm]) => {
    // threads need headers that a static host rarely sends
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = { wasm: new URL(wasm.default, self.location.href).href };
    ort.env.logLevel = "error";
    return runtimeSessions(ort as never, { executionProviders: ["wasm"] });
  });
  loading.catch(() => (loading = null));
  return loading;
}

// ---- looking at a model

function describe(model: OnnxModel, bytes: number, shapes: Job["shapes"]): ModelInfo {
  const extents = extentsOf(model.inputs, shapes);
  const { sites, leftAlone, totals } = onnxSites(model, { shapes: extents });
  const groups = new Map<string, { reason: string; layers: number; weights: number }>();
  for (const { reason, weights } of leftAlone) {
    const group = groups.get(reason) ?? { reason, layers: 0, weights: 0 };
    groups.set(reason, { reason, layers: group.layers + 1, weights: group.weights + weights });
  }
  return {
    name: source!.name,
    bytes,
    inputs: model.inputs,
    open: openInputs(model.inputs).filter((name) => !shapes[name]),
    ...totals,
    layers: sites.map(({ id, name, op, shape, counts }) => ({ id, name, op, shape, ...counts })),
    leftAlone: [...groups.values()].sort((a, b) => b.weights - a.weights),
  };
}

async function inspect(shapes: Job["shapes"]): Promise<ModelInfo> {
  const { file, beside } = source!;
  // layers are named by what they give, which folding changes
  const { model } = await foldOnnx(modelOf(await bytesOf(file)));
  const more = [...beside.values()].reduce((sum, { size }) => sum + size, 0);
  return describe(model, file.size + more, shapes);
}

// ---- compressing

async function compress(job: Job): Promise<void> {
  const { signal } = controller;
  const say = (done: number, words: string, layer: string | null = null): void => {
    signal.throwIfAborted();
    tell({ type: "progress", done, words, layer });
  };
  say(0, "Loading onnxruntime-web (14 MB, once)…");
  const session = await loadRuntime();
  say(0.01, "Opening the GPU…");
  const engine = await openEngine();
  const bytes = await bytesOf(source!.file);
  const work = new Work(bytes, job, session, engine, signal, say);
  await (samples ? work.calibrated(samples) : work.random());
  tell({ type: "end" });
}

type Say = (done: number, words: string, layer?: string | null) => void;

/** One job: the original, and the versions that are made of it. */
class Work {
  constructor(
    private readonly bytes: Uint8Array,
    private readonly job: Job,
    private readonly session: OnnxSessions,
    private readonly engine: Engine,
    private readonly signal: AbortSignal,
    private readonly say: Say,
  ) {}

  /** The model that a request before has left, if it was of the same samples or shapes. */
  private network(what: { calibration: readonly OnnxFeeds[] } | { shapes: Job["shapes"] }): OnnxCompression {
    const { engine, session, bytes } = this;
    const key = JSON.stringify("shapes" in what ? what.shapes : "samples");
    if (network?.key !== key) {
      void network?.compression.release();
      const compression = new OnnxCompression(bytes, { engine, session, external, file: source!.name, ...what });
      network = { key, compression };
    }
    return network.compression;
  }

  private progress(from: number, to: number, what: string, sites: readonly OnnxSite[] = []) {
    return (done: number, doing: string): void => {
      const layer = sites.find(({ name }) => doing === name || doing.endsWith(` ${name}`));
      this.say(from + (to - from) * done, `${what}: ${doing}`, layer?.id ?? null);
    };
  }

  /** With samples: fits have the least error on them, and a fifth of them says how near the result is. */
  async calibrated(calibration: readonly OnnxFeeds[]): Promise<void> {
    const { job, signal } = this;
    const compression = this.network({ calibration });
    const [first, second] = job.int8 ? [0.2, 0.85] : [0.02, 1];
    if (job.int8 && !job.known.includes("int8")) {
      const onProgress = this.progress(0.02, first, "int8 alone");
      const result = await compression.compress({ int8: true, signal, onProgress });
      const version = versionOf("int8", "int8", result, this.counts(result));
      show(version);
    }
    const { sites } = onnxSites(await this.folded());
    const onProgress = this.progress(first, second, "low rank", sites);
    const result = await compression.compress({ target: job.target, signal, onProgress });
    const low = versionOf(job.title, job.title, result, this.counts(result));
    show(low);
    if (job.int8 && result.bytes) await this.onTop(calibration, result.bytes, low, second);
    await this.time(calibration[0]!);
  }

  /** int8 on top of low rank. */
  private async onTop(calibration: readonly OnnxFeeds[], bytes: Uint8Array, low: Version, from: number): Promise<void> {
    const { job, engine, session, signal } = this;
    const small = new OnnxCompression(bytes, { engine, session, external, file: source!.name, calibration });
    const onProgress = this.progress(from, 0.97, "low rank and int8");
    const both = await small.compress({ int8: true, signal, onProgress });
    await small.release();
    const title = `${job.title} + int8`;
    const version = versionOf(title, title, both, low.multiplications);
    if (both.bytes) {
      this.say(0.97, "Comparing with the original…");
      // the file was compared with the one of low rank
      const { verify } = splitSamples(calibration, [], 0);
      const judge = await OutputJudge.of(this.session, await this.folded(), batches(verify, 1));
      const { agreement, samples: each } = await judge.compare(readOnnx(both.bytes));
      // one run a sample, in groups of equal shapes
      const places = batchGroups(verify, 1).map(([feeds]) => calibration.indexOf(feeds!));
      const worst = picturesOf(each.map((one, at) => ({ sample: places[at]!, ...one })));
      Object.assign(version, { error: agreement.error, agreement: agreement.agreement, worst });
    }
    show({ ...version, isLowRank: true });
  }

  /** Without samples: fits of the weights alone; random inputs tell the time and nothing else. */
  async random(): Promise<void> {
    const { job, bytes, signal } = this;
    const model = modelOf(bytes);
    const shapes = extentsOf(model.inputs, job.shapes);
    const feeds = randomFeeds(model.inputs, shapes);
    const { sites } = onnxSites(model, { shapes });
    const onProgress = this.progress(0.02, 0.7, "low rank, by the weights alone", sites);
    const result = await this.network({ shapes }).compress({ target: job.target, signal, onProgress });
    const low = versionOf(job.title, job.title, result, this.counts(result));
    show(low);
    if (job.int8) await this.roughInt8(result, low, feeds);
    await this.time(feeds);
  }

  private async roughInt8(result: CompressedOnnx, low: Version, feeds: OnnxFeeds): Promise<void> {
    const { job, signal } = this;
    // random inputs have no ranges that mean anything, so this file is for its time and its size only
    const versions: [string, OnnxModel, number | null][] = [];
    if (!job.known.includes("int8")) versions.push(["int8", await this.folded(), this.counts(result, true)]);
    if (result.bytes) versions.push([`${job.title} + int8`, readOnnx(result.bytes), low.multiplications]);
    for (const [title, float, multiplications] of versions) {
      this.say(0.8, `${title}…`);
      const ranges = await activationRanges(float, { session: this.session, feeds: [feeds], signal });
      const { model: small, quantised } = await quantiseOnnx(float, { ranges });
      const written = writeOnnx(small);
      const has = quantised.length > 0;
      const version: Version = {
        ...{ id: title, title, file: null, multiplications, error: null, agreement: null, verified: 0 },
        ...{ worst: null, warnings: [], layers: null, isInt8: true, isLowRank: title !== "int8" },
        time: null,
        bytes: has ? written.length : null,
        reason: has ? null : "no convolution of float32 with constant weights, which int8 needs",
      };
      show(version, has ? fileOf(written) : null);
    }
  }

  #folded: Promise<OnnxModel> | null = null;
  private folded(): Promise<OnnxModel> {
    this.#folded ??= inlineExternal(modelOf(this.bytes)).then(async (model) => (await foldOnnx(model)).model);
    return this.#folded;
  }

  private counts({ multiplications: { before, after } }: CompressedOnnx, isBefore = false): number | null {
    return isBefore ? before : after;
  }

  /** Takes the time of the original and of all versions of it, in turns, so that what else the machine does hits all of them. */
  async time(feeds: OnnxFeeds): Promise<void> {
    const original = await this.session(writeOnnx(await this.folded()));
    const times = new Map<string, number>();
    let base: number | null = null;
    try {
      for (const group of groupsWithin([...files].slice(-MOST_TIMED), MOST_OPEN)) {
        const [first, ...others] = await this.turns(original, group, feeds);
        base ??= first!;
        // each group has its own measure of the original
        for (const [at, [id]] of group.entries()) times.set(id, (base * others[at]!) / first!);
      }
    } finally {
      await original.release();
    }
    if (base !== null) tell({ type: "times", original: base, times: [...times] });
  }

  /** Milliseconds of a run of the original, then of some versions, in turns. */
  private async turns(
    original: OnnxSession,
    versions: readonly (readonly [id: string, file: Blob])[],
    feeds: OnnxFeeds,
  ): Promise<number[]> {
    const onRound = (): void => this.say(0.98, "Taking the time…");
    onRound();
    const sessions = [original];
    try {
      for (const [, file] of versions) sessions.push(await this.session(await bytesOf(file)));
      return await timesInTurns(sessions, feeds, { ...TURNS, onRound });
    } finally {
      for (const session of sessions.slice(1)) await session.release();
    }
  }
}

/** the browser compiles what runs often anew, and better; the clock of a page may be as coarse as a millisecond */
const TURNS = { warmUp: 300, least: 30, rounds: 5 };
/** the last versions, which are timed */
const MOST_TIMED = 7;
/** bytes of files that are timed together: a session takes some three times as much of the runtime's memory, which ends at 4 GB */
const MOST_OPEN = 2e8;

/** Versions in their order, in groups of files that together have at most so many bytes, or are one. */
function groupsWithin(versions: readonly (readonly [id: string, file: Blob])[], most: number) {
  const groups: (typeof versions)[number][][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const version of versions) {
    bytes += version[1].size;
    if (bytes > most) {
      groups.push([]);
      bytes = version[1].size;
    }
    groups.at(-1)!.push(version);
  }
  return groups;
}

/** the browser keeps it, outside of the worker's memory */
const fileOf = (bytes: Uint8Array): Blob =>
  new Blob([bytes as Uint8Array<ArrayBuffer>], { type: "application/octet-stream" });

/** @param timed the file of a version that is timed and not given */
function show(version: Version, timed: Blob | null = version.file): void {
  files.delete(version.id);
  if (timed) files.set(version.id, timed);
  tell({ type: "version", version });
}

/** Differences with pictures of the samples, where these are images. */
const picturesOf = (differences: readonly SampleDifference[]): WorstSample[] =>
  differences.map((one) => {
    const feeds = samples?.[one.sample] ?? {};
    return {
      ...one,
      image:
        Object.values(feeds)
          .map(sampleImage)
          .find((image) => image) ?? null,
    };
  });

function versionOf(id: string, title: string, result: CompressedOnnx, multiplications: number | null): Version {
  const { bytes, reason, verified, worst, warnings, layers, samples: used } = result;
  const isLowRank = layers.some(({ scheme }) => scheme);
  return {
    ...{ id, title, reason, warnings, isLowRank, multiplications, time: null },
    file: bytes && fileOf(bytes),
    bytes: bytes?.length ?? null,
    error: verified?.error ?? null,
    agreement: verified?.agreement ?? null,
    verified: verified ? used.verify : 0,
    worst: worst && picturesOf(worst),
    isInt8: result.int8 !== null,
    layers: isLowRank ? layers.map(({ name: _, op: __, shape: ___, ...layer }): FittedLayer => layer) : null,
  };
}

/** What is known of the model goes with it, or with its samples. */
function forgetNetwork(): void {
  void network?.compression.release();
  network = null;
  files.clear();
}

// ---- images

async function decode(files: readonly File[], images: ImageSettings, shapes: Job["shapes"]): Promise<OnnxFeeds[]> {
  const { signal } = controller;
  const model = modelOf(await bytesOf(source!.file));
  const { mean, std, bgr, stretch } = images;
  // what is as it is by default need not fit the model
  const values = { ...(mean.some((one) => one !== 0) && { mean }), ...(std.some((one) => one !== 1) && { std }) };
  const { width, height, feeds } = imageInput(model, { ...values, bgr, shape: shapes[model.inputs[0]?.name ?? ""] });
  const context = new OffscreenCanvas(width, height).getContext("2d", { alpha: false, willReadFrequently: true })!;
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#fff";
  const decoded: OnnxFeeds[] = [];
  for (const file of files) {
    signal.throwIfAborted();
    const bitmap = await createImageBitmap(file).catch(() => {
      throw new Error(`${file.name}: is no image that this browser can read`);
    });
    // the shorter side fits
    const scale = Math.min(bitmap.width / width, bitmap.height / height);
    const [across, down] = stretch ? [bitmap.width, bitmap.height] : [scale * width, scale * height];
    context.fillRect(0, 0, width, height);
    const middle = [(bitmap.width - across) / 2, (bitmap.height - down) / 2] as const;
    context.drawImage(bitmap, ...middle, across, down, 0, 0, width, height);
    bitmap.close();
    decoded.push(feeds(context.getImageData(0, 0, width, height).data));
    tell({ type: "decoded", count: decoded.length });
  }
  return decoded;
}

/** Shapes of the sample whose multiplications are counted. */
function sampleShapes(of: readonly OnnxFeeds[]): Job["shapes"] {
  const [first] = of.length > 2 ? splitSamples(of, [], 0).fit : of;
  return Object.fromEntries(Object.entries(first!).map(([name, { shape }]) => [name, shape]));
}

// ---- questions

async function answer(message: Exclude<ToCompressor, { type: "abort" }>): Promise<void> {
  switch (message.type) {
    case "open": {
      const before = source;
      source = { file: message.file, name: message.name, beside: new Map(message.beside) };
      let model: ModelInfo;
      try {
        model = await inspect({});
      } catch (error) {
        // the model before is still on the page
        source = before;
        throw error;
      }
      samples = null;
      forgetNetwork();
      return tell({ type: "opened", model });
    }
    case "inspect":
      return tell({ type: "opened", model: await inspect(samples ? sampleShapes(samples) : message.shapes) });
    case "sample": {
      const { file, name } = message;
      const model = modelOf(await bytesOf(source!.file));
      const read = await bytesOf(file);
      const arrays = /\.npy$/i.test(name)
        ? new Map([[model.inputs[0]?.name ?? "", readNpy(read, name)]])
        : readNpz(read, name);
      samples = samplesOf(model, arrays, name);
      forgetNetwork();
      return tell({ type: "sampled", count: samples.length });
    }
    case "samples": {
      const model = modelOf(await bytesOf(source!.file));
      const { shape, data } = message;
      samples = samplesOf(model, new Map([[model.inputs[0]!.name, { shape, data }]]));
      forgetNetwork();
      return tell({ type: "sampled", count: samples.length });
    }
    case "images": {
      const { files: of, images, shapes } = message;
      samples = null;
      forgetNetwork();
      samples = await decode(of, images, shapes);
      return tell({ type: "sampled", count: samples.length });
    }
    case "forget":
      samples = null;
      forgetNetwork();
      return tell({ type: "end" });
    case "compress":
      return await compress(message.job);
  }
}

addEventListener("message", ({ data }: MessageEvent<ToCompressor>) => {
  if (data.type === "abort") {
    controller.abort();
    return;
  }
  controller = new AbortController();
  answer(data).catch((error: Error) => tell({ type: "failed", message: error.message.replace(/^imageInput: /, "") }));
});
