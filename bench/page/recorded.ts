/**
 * Results of Decompose, Train and Compress that are shown where there is no WebGPU: files in recorded/, made by
 * `node bench/page/record.mjs` on a machine with WebGPU.
 */
import { type PackedArray, pack, unpack } from "../../src/experiments/results.js";
import type { Epoch } from "../../src/index.js";
import type { Figures, Shown } from "./compress/compression.js";
import type { Decomposed } from "./decompose/decomposition.js";
import type { Trained, TrainedNetwork } from "./train/training.js";

interface Recorded {
  adapter: string;
  date: string;
  /** the part's state, as in the URL */
  state: Record<string, string>;
}

export interface RecordedDecomposition extends Recorded {
  result: Omit<Decomposed, "loadings" | "basis" | "mean"> & { loadings: PackedArray; basis: PackedArray };
}

export interface RecordedTraining extends Recorded {
  networks: TrainedNetwork[];
  relativeError: number;
  images: Trained["images"];
}

/** `predictions`: a digit for every held-out image, side by side */
type PackedFigures = Omit<Figures, "predictions"> & { predictions: string };

export interface RecordedCompression extends Recorded {
  shown: Omit<Shown, "before" | "after"> & { before: PackedFigures; after: PackedFigures };
  curve: Epoch[];
}

const now = (): string => new Date().toISOString().slice(0, 10);
const FILES = import.meta.glob<unknown>("./recorded/*.json", { import: "default" });

async function load<T>(name: string): Promise<T | null> {
  const file = FILES[`./recorded/${name}.json`];
  return file ? ((await file()) as T) : null;
}

/** Packs a decomposition; the mean is left out, so it must be one of images that were not centred. */
export function packDecomposition(
  adapter: string,
  state: Record<string, string>,
  { mean: _, ...result }: Decomposed,
): RecordedDecomposition {
  const { count, settings } = result;
  return {
    adapter,
    date: now(),
    state,
    result: {
      ...result,
      loadings: pack(result.loadings, [count, settings.rank]),
      basis: pack(result.basis, [settings.rank, 784]),
    },
  };
}

export async function recordedDecomposition(): Promise<(Recorded & { result: Decomposed }) | null> {
  const recorded = await load<RecordedDecomposition>("decompose");
  if (!recorded) return null;
  const [loadings, basis] = [recorded.result.loadings, recorded.result.basis].map(unpack) as [
    Float32Array,
    Float32Array,
  ];
  return { ...recorded, result: { ...recorded.result, loadings, basis, mean: null } };
}

const short = (value: number | undefined): number => Number((value ?? 0).toFixed(4));

export function packTraining(
  adapter: string,
  state: Record<string, string>,
  networks: readonly TrainedNetwork[],
  { relativeError, images }: Pick<Trained, "relativeError" | "images">,
): RecordedTraining {
  const brief = networks.map((network) => ({
    ...network,
    curve: network.curve.map(({ epoch, loss, accuracy, validationAccuracy }) => ({
      epoch,
      loss: short(loss),
      accuracy: short(accuracy),
      validationAccuracy: short(validationAccuracy),
    })),
  }));
  return { adapter, date: now(), state, networks: brief, relativeError, images };
}

export const recordedTraining = (): Promise<RecordedTraining | null> => load<RecordedTraining>("train");

export function packCompression(
  adapter: string,
  state: Record<string, string>,
  { before, after, ...shown }: Shown,
  curve: readonly Epoch[],
): RecordedCompression {
  const brief = (figures: Figures): PackedFigures => ({
    ...figures,
    predictions: Array.from(figures.predictions).join(""),
  });
  return {
    adapter,
    date: now(),
    state,
    shown: { ...shown, before: brief(before), after: brief(after) },
    curve: curve.map((epoch) => {
      const { loss, accuracy, validationLoss, validationAccuracy } = epoch;
      return {
        epoch: epoch.epoch,
        loss: short(loss),
        accuracy: short(accuracy),
        validationLoss: short(validationLoss),
        validationAccuracy: short(validationAccuracy),
      };
    }),
  };
}

export async function recordedCompression(): Promise<(Recorded & { shown: Shown; curve: Epoch[] }) | null> {
  const recorded = await load<RecordedCompression>("compress");
  if (!recorded) return null;
  const { before, after } = recorded.shown;
  const unpacked = (figures: PackedFigures): Figures => ({
    ...figures,
    predictions: [...figures.predictions].map(Number),
  });
  return { ...recorded, shown: { ...recorded.shown, before: unpacked(before), after: unpacked(after) } };
}
