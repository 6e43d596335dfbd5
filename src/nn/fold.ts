import { checkOption, instanceOf } from "../gpu/index.js";
import { Conv1d } from "./conv1d.js";
import { BatchNorm, Conv2d, Conv3d } from "./convolution.js";
import { ConvTranspose2d } from "./convTranspose2d.js";
import { Join } from "./join.js";
import type { Layer } from "./layer.js";
import { Linear } from "./layers.js";
import { Network, type Place } from "./network.js";
import { rebuilt } from "./rebuild.js";
import { changedCopy, cloneJoin, cloneLayer } from "./save.js";

/** A layer whose outputs, one or one plane each, are sums of products without an activation. */
type Foldable = Linear | Conv1d | Conv2d | Conv3d | ConvTranspose2d;

const isFoldable = (of: Layer | Join): of is Foldable =>
  [Linear, Conv1d, Conv2d, Conv3d, ConvTranspose2d].some((kind) => of.constructor === kind) &&
  (of as Foldable).activation === "none";

/** The group of outputs that an element of a weight belongs to. */
function outputOf(layer: Foldable): (element: number) => number {
  const { shape } = layer.weight;
  const taps = shape.slice(2).reduce((a, b) => a * b, 1);
  if (!(layer instanceof ConvTranspose2d)) return (element) => Math.floor(element / (shape[1]! * taps));
  // inputs×(outputs/groups)×…
  const [inputs, of] = shape as [number, number];
  return (element) => {
    const input = Math.floor(element / (of * taps));
    return Math.floor((input * layer.groups) / inputs) * of + (Math.floor(element / taps) % of);
  };
}

/** A copy of `layer` that does what the layer and the normalisation after it do outside of training. */
async function folded(layer: Foldable, norm: BatchNorm): Promise<Layer> {
  const copy = (await changedCopy(layer, { bias: true })) as Foldable;
  const [weight, scale, shift, running] = [
    await layer.weight.read(),
    await norm.weight.read(),
    await norm.bias.read(),
    await norm.running.read(),
  ];
  const bias = (await layer.bias?.read()) ?? new Float32Array(norm.channels);
  const { channels, epsilon } = norm;
  const factors = Float64Array.from(scale, (value, c) => value / Math.sqrt(running[channels + c]! + epsilon));
  const output = outputOf(layer);
  copy.weight.start = weight.map((value, e) => value * factors[output(e)]!);
  copy.bias!.start = bias.map((value, c) => (value - running[c]!) * factors[c]! + shift[c]!);
  return copy;
}

/**
 * A copy of a network for inference, in which every batch normalisation that follows a dense layer or a convolution without an
 * activation is folded into it, where nothing else reads that layer. Its outputs are those of the network outside of training,
 * but for rounding; the network does not change. The caller destroys the copy.
 *
 * @throws TenfoldError where a layer is of no kind that can be copied
 */
export async function foldBatchNorm<N extends Network>(model: N): Promise<N> {
  checkOption("foldBatchNorm", "the model", model, instanceOf(Network, "a Sequential or Network"));
  const { places, output } = model;
  const readers = new Map<string, number>();
  for (const id of [output, ...places.flatMap(({ from }) => from)]) readers.set(id, (readers.get(id) ?? 0) + 1);
  const byId = new Map(places.map((place) => [place.id, place]));
  const copies: Place[] = [];
  /** the id that stands for a normalisation that was folded away */
  const stands = new Map<string, string>();
  const sources = new Map<string, BatchNorm>();
  for (const { id, of, from } of places) {
    const before = byId.get(from[0]!);
    if (of.constructor === BatchNorm && before && isFoldable(before.of) && readers.get(before.id) === 1) {
      stands.set(id, before.id);
      sources.set(before.id, of as BatchNorm);
    }
  }
  for (const { id, of, from } of places) {
    if (stands.has(id)) continue;
    const norm = sources.get(id);
    const copy = of instanceof Join ? cloneJoin(of) : norm ? await folded(of as Foldable, norm) : await cloneLayer(of);
    copies.push({ id, of: copy, from: from.map((source) => stands.get(source) ?? source) });
  }
  return rebuilt(model, copies, stands.get(output) ?? output);
}
