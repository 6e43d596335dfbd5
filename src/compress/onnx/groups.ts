/**
 * Layers that are fitted as others: convolutions in groups, of which each group is a layer, with the same scheme and ranks for all; and wide layers, by narrow
 * ones in their place.
 */
import type { OnnxReplacement, OnnxSite } from "../../onnx/index.js";
import { concatenated } from "../../onnx/tensors.js";
import { type FitCandidate, type FitScheme, type FitterOptions, LayerFits, undominated } from "./fits.js";
import { type Moments, widthOf } from "./moments.js";
import type { Products } from "./products.js";
import { blockOf } from "./triangle.js";
import { isNarrow, type NarrowSite } from "./wide.js";

/** What all fits of a layer, and of one in groups, can do. */
export type Fits = Pick<LayerFits, "site" | "patches" | "draw" | "candidates" | "ridgePart" | "fit" | "rebiased">;

/** @param moments of a layer in groups those of all groups, one behind the other; overwritten; null for fits of the weights alone */
export async function fitsOf(
  products: Products,
  site: OnnxSite,
  moments: Moments | null,
  options: FitterOptions,
): Promise<Fits> {
  if (site.groups === 1) {
    const fits = await LayerFits.of(products, site, moments, options);
    return isNarrow(site) ? new WideFits(fits, site) : fits;
  }
  const parts: LayerFits[] = [];
  for (let group = 0; group < site.groups; group++) {
    const metric = options.metric && metricOf(options.metric, site, group);
    const of = moments && momentsOf(moments, site, group);
    parts.push(await LayerFits.of(products, partOf(site, group), of, { ...options, metric }));
  }
  return new GroupedFits(site, parts);
}

/** One group of a convolution as a layer of its own. */
export function partOf(site: OnnxSite, group: number): OnnxSite {
  const { groups, shape, counts } = site;
  const outputs = shape[0]! / groups;
  const size = counts.weights / groups;
  return {
    ...site,
    ...{ groups: 1, shape: [outputs, ...shape.slice(1)] },
    counts: { weights: size, multiplications: counts.multiplications && counts.multiplications / groups },
    weights: async () => (await site.weights()).slice(group * size, (group + 1) * size),
    bias: async () => (await site.bias())?.slice(group * outputs, (group + 1) * outputs) ?? null,
  };
}

function momentsOf({ count, meanX, meanZ, covariance, cross }: Moments, site: OnnxSite, group: number): Moments {
  const width = widthOf(site);
  const of = (values: Float64Array, size: number): Float64Array => values.subarray(group * size, (group + 1) * size);
  const c = of(covariance, width ** 2);
  return {
    ...{ count, meanX: of(meanX, width), meanZ: of(meanZ, width), covariance: c },
    cross: cross === covariance ? c : of(cross, width ** 2),
  };
}

/** The block of one group's outputs. */
function metricOf(metric: Float64Array, { shape, groups }: OnnxSite, group: number): Float64Array {
  const size = shape[0]! / groups;
  return blockOf(metric, shape[0]!, group * size, (group + 1) * size, group * size, (group + 1) * size);
}

class GroupedFits implements Fits {
  constructor(
    readonly site: OnnxSite,
    private readonly parts: readonly LayerFits[],
  ) {}

  get patches(): number | null {
    return this.parts[0]!.patches;
  }

  draw(ridge: number): void {
    for (const part of this.parts) part.draw(ridge);
  }

  async candidates(): Promise<FitCandidate[]> {
    const { parts } = this;
    const lists: FitCandidate[][] = [];
    for (const part of parts) lists.push(await part.everyCandidate());
    const energy = parts.reduce((sum, part) => sum + part.energy, 0);
    return undominated(
      lists[0]!.map((one, at) => ({
        ...one,
        weights: one.weights * parts.length,
        multiplications: one.multiplications && one.multiplications * parts.length,
        error: parts.reduce((sum, part, which) => sum + (part.energy / energy) * lists[which]![at]!.error, 0),
      })),
    );
  }

  async ridgePart(candidate: FitCandidate): Promise<number> {
    let [sum, energy] = [0, 0];
    for (const part of this.parts) {
      sum += part.energy * (await part.ridgePart(candidate));
      energy += part.energy;
    }
    return sum / energy;
  }

  async fit(scheme: FitScheme, ranks: readonly number[]): Promise<OnnxReplacement> {
    const fits: OnnxReplacement[] = [];
    for (const part of this.parts) fits.push(await part.fit(scheme, ranks));
    const [first] = fits as [OnnxReplacement];
    const factors = first.factors.map(({ shape }, at) => ({
      shape: [shape[0]! * fits.length, ...shape.slice(1)],
      data: concatenated(fits.map(({ factors }) => factors[at]!.data)),
    }));
    return {
      site: this.site.id,
      scheme,
      factors,
      ...(first.bias && { bias: concatenated(fits.map((fit) => fit.bias!)) }),
    };
  }

  async rebiased(fit: OnnxReplacement): Promise<OnnxReplacement> {
    const { parts } = this;
    const biased = parts.map((part, group) => {
      const factors = fit.factors.map(({ shape, data }) => {
        const size = data.length / parts.length;
        const values = (data as Float32Array).slice(group * size, (group + 1) * size);
        return { shape: [shape[0]! / parts.length, ...shape.slice(1)], data: values };
      });
      return part.rebiased({ ...fit, factors });
    });
    return { ...fit, bias: concatenated((await Promise.all(biased)).map(({ bias }) => bias!)) };
  }
}

/** The fits of a narrow layer as those of the wide one. */
class WideFits implements Fits {
  /** the narrow layer's fit of each fit that was given */
  private static readonly narrow = new WeakMap<OnnxReplacement, OnnxReplacement>();

  constructor(
    private readonly fits: LayerFits,
    readonly site: NarrowSite,
  ) {}

  get patches(): number | null {
    return this.fits.patches;
  }

  draw(ridge: number): void {
    this.fits.draw(ridge);
  }

  candidates(): Promise<FitCandidate[]> {
    return this.fits.candidates();
  }

  ridgePart(candidate: FitCandidate): Promise<number> {
    return this.fits.ridgePart(candidate);
  }

  async fit(scheme: FitScheme, ranks: readonly number[]): Promise<OnnxReplacement> {
    const { basis } = this.site;
    const narrow = await this.fits.fit(scheme, ranks);
    const [{ shape, data }, ...others] = narrow.factors as [OnnxReplacement["factors"][number]];
    const first = { shape: [shape[0]!, basis.inputs], data: await basis.expand(data as Float32Array) };
    return this.known({ ...narrow, factors: [first, ...others] }, narrow);
  }

  /** @param fit one that was given before, or the narrow layer as it is */
  async rebiased(fit: OnnxReplacement): Promise<OnnxReplacement> {
    const { wide } = this.site;
    const narrow = await this.fits.rebiased(WideFits.narrow.get(fit) ?? fit);
    const factors = WideFits.narrow.has(fit) ? fit.factors : [{ shape: wide.shape, data: await wide.weights() }];
    return this.known({ ...narrow, factors }, narrow);
  }

  private known(fit: OnnxReplacement, narrow: OnnxReplacement): OnnxReplacement {
    WideFits.narrow.set(fit, narrow);
    return fit;
  }
}
