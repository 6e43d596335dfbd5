import { TenfoldError } from "../gpu/index.js";
import { Join } from "./join.js";
import type { Layer } from "./layer.js";
import { Network, type Place } from "./network.js";
import { Sequential } from "./sequential.js";

/**
 * A network of these places in place of a network's own, for samples of the same shape and of the same class: a Sequential stays
 * one. The layers belong to no other network.
 *
 * @throws TenfoldError where the network is of a class that users wrote
 */
export async function rebuilt<N extends Network>(model: N, places: readonly Place[], output: string): Promise<N> {
  const { engine, inputShape } = model;
  if (model.constructor === Sequential) {
    const layers = places.map(({ of }) => of).filter((of): of is Layer => !(of instanceof Join));
    return (await Sequential.create(engine, layers, { inputShape })) as Network as N;
  }
  if (model.constructor !== Network) throw new TenfoldError("a network of a class of its own cannot be rebuilt");
  return (await Network.create(engine, places, { inputShape, output })) as N;
}
