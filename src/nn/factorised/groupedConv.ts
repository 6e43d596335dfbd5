import { TenfoldError } from "../../gpu/index.js";
import { Chain } from "../chain.js";
import { Conv2d } from "../convolution.js";
import { layerKind } from "../layerKind.js";
import type { FactorisedConv } from "./factorisedConv.js";
import { composeKernels } from "./hostKernels.js";
import type { Values } from "./hostMatrices.js";

/**
 * A convolution with groups as a chain of convolutions with groups: the convolution of every group is factorised for itself, and
 * the convolutions that stand at one place of these chains are one dispatch.
 */
export class GroupedConv extends Chain {
  constructor(
    name: string,
    readonly groups: number,
    readonly convolutions: readonly Conv2d[],
  ) {
    super(name, convolutions);
  }

  /** @param parts the factorised convolutions of the groups in order, all of the same shape */
  static async of(parts: readonly FactorisedConv[]): Promise<GroupedConv> {
    const [first] = parts;
    const groups = parts.length;
    const convolutions = await Promise.all(
      first!.convolutions.map(async ({ kernel, stride, padding, dilation, activation, ...shape }, place) => {
        const read = async (of: "weight" | "bias"): Promise<Float32Array> => {
          const values = await Promise.all(parts.map(({ convolutions }) => convolutions[place]![of]!.read()));
          const all = new Float32Array(values.length * values[0]!.length);
          for (const [group, list] of values.entries()) all.set(list, group * list.length);
          return all;
        };
        return new Conv2d({
          ...{ kernel, stride, padding, dilation, activation },
          inputs: groups * shape.inputs,
          outputs: groups * shape.outputs,
          groups: groups * shape.groups,
          weight: await read("weight"),
          bias: shape.bias ? await read("bias") : false,
        });
      }),
    );
    return new GroupedConv(`${groups} groups of ${first!.name}`, groups, convolutions);
  }

  /** The kernel that the chain stands for, outputs×(inputs/groups)×height×width. */
  async toDense(): Promise<Float32Array> {
    const { groups, convolutions } = this;
    const weights = await Promise.all(convolutions.map(({ weight }) => weight.read()));
    const kernels: Values[] = [];
    for (let group = 0; group < groups; group++) {
      const parts = convolutions.map((layer, place) => {
        const size = weights[place]!.length / groups;
        return {
          weight: weights[place]!.subarray(group * size, (group + 1) * size),
          inputs: layer.inputs / groups,
          outputs: layer.outputs / groups,
          groups: layer.groups / groups,
          size: layer.kernel,
        };
      });
      kernels.push((await composeKernels(parts)).weight);
    }
    const all = new Float32Array(groups * kernels[0]!.length);
    for (const [group, kernel] of kernels.entries()) all.set(kernel, group * kernel.length);
    return all;
  }
}

export const groupedConvKind = /* @__PURE__ */ layerKind(
  "groupedConv",
  GroupedConv,
  ({ name, groups, layers }, describe) => ({ name, groups, layers: layers.map(describe) }),
  (f) => {
    const layers = f.layers("layers");
    const groups = f.count("groups");
    if (!layers.every((layer): layer is Conv2d => layer instanceof Conv2d && layer.groups % groups === 0))
      throw new TenfoldError(`groupedConv: needs convolutions whose groups are a multiple of ${groups}`);
    return new GroupedConv(f.text("name"), groups, layers);
  },
);
