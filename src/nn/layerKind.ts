/** How layers are described in files and built from descriptions. The kinds themselves stand beside their layers. */
import { type Activation, activations, type Side } from "../ops/index.js";
import type { Layer } from "./layer.js";

/** A layer in JSON: its kind, and the options that it is made from. */
export type Description = { kind: string } & Record<string, unknown>;

/** A value of a file as errors show it: JSON of at most 100 characters. JSON.stringify throws where nesting overflows the stack. */
export function jsonOf(value: unknown): string {
  try {
    const text = JSON.stringify(value) ?? "missing";
    return text.length > 100 ? `${text.slice(0, 100)}…` : text;
  } catch {
    return "nested too deeply";
  }
}

/** Reads the fields of a description, and checks each of them because a file may hold anything. */
export class Fields {
  constructor(
    private readonly values: Record<string, unknown>,
    private readonly fail: (problem: string) => never,
    /** builds a layer that these fields hold */
    private readonly layerOf: (value: unknown, fail: (problem: string) => never) => Layer,
  ) {}

  #read<T>(name: string, is: (value: unknown) => boolean, needs: string): T {
    const value = this.values[name];
    if (!is(value)) this.fail(`${name} is ${jsonOf(value)}, needs ${needs}`);
    return value as T;
  }

  /** Whether the description has a field, whatever it holds. */
  has(name: string): boolean {
    return Object.hasOwn(this.values, name);
  }

  /** A whole number, 1 or more. */
  count(name: string): number {
    const is = (value: unknown): boolean => Number.isInteger(value) && (value as number) >= 1;
    return this.#read(name, is, "a whole number from 1");
  }

  /** A whole number, 0 or more. */
  index(name: string): number {
    const is = (value: unknown): boolean => Number.isInteger(value) && (value as number) >= 0;
    return this.#read(name, is, "a whole number from 0");
  }

  counts(name: string, least = 1): number[] {
    const is = (value: unknown): boolean =>
      Array.isArray(value) && value.every((entry) => Number.isInteger(entry) && entry >= least);
    return this.#read(name, is, `a list of whole numbers from ${least}`);
  }

  pair(name: string): [number, number] {
    const extents = this.counts(name);
    if (extents.length !== 2) this.fail(`${name} has ${extents.length} entries, needs 2`);
    return extents as [number, number];
  }

  triple(name: string): [number, number, number] {
    const extents = this.counts(name);
    if (extents.length !== 3) this.fail(`${name} has ${extents.length} entries, needs 3`);
    return extents as [number, number, number];
  }

  /** `padding` of images: "same", or for both directions a width or two. */
  padding2d(): [Side, Side] | "same" {
    return this.#padding(2) as [Side, Side] | "same";
  }

  /** `padding` of volumes: "same", or for the three directions a width or two. */
  padding3d(): [Side, Side, Side] | "same" {
    return this.#padding(3) as [Side, Side, Side] | "same";
  }

  /** `padding` of signals: "same", or one width or two. */
  padding1d(): [Side] | "same" {
    return this.#padding(1) as [Side] | "same";
  }

  #padding(count: number): Side[] | "same" {
    const widths = this.values.padding;
    if (widths === "same") return "same";
    const isWidth = (value: unknown): boolean => Number.isInteger(value) && (value as number) >= 0;
    const isSide = (value: unknown): boolean =>
      isWidth(value) || (Array.isArray(value) && value.length === 2 && value.every(isWidth));
    this.#read("padding", (value) => Array.isArray(value) && value.every(isSide), "a list of whole numbers from 0");
    const sides = widths as Side[];
    if (sides.length !== count) this.fail(`padding has ${sides.length} entries, needs ${count}, or "same"`);
    return sides;
  }

  flag(name: string): boolean {
    return this.#read(name, (value) => typeof value === "boolean", "true or false");
  }

  rate(name: string): number {
    const is = (value: unknown): boolean => typeof value === "number" && value >= 0 && value < 1;
    return this.#read(name, is, "a number from 0 to below 1");
  }

  share(name: string): number {
    const is = (value: unknown): boolean => typeof value === "number" && value >= 0 && value <= 1;
    return this.#read(name, is, "a number from 0 to 1");
  }

  atLeastZero(name: string): number {
    const is = (value: unknown): boolean => typeof value === "number" && value >= 0;
    return this.#read(name, is, "a number, 0 or more");
  }

  text(name: string): string {
    return this.#read(name, (value) => typeof value === "string", "a text");
  }

  texts(name: string): string[] {
    const is = (value: unknown): boolean => Array.isArray(value) && value.every((entry) => typeof entry === "string");
    return this.#read(name, is, "a list of texts");
  }

  list(name: string): unknown[] {
    return this.#read(name, Array.isArray, "a list");
  }

  choice<const T extends string>(name: string, choices: readonly T[]): T {
    return this.#read(name, (value) => choices.includes(value as T), `one of ${choices.join(", ")}`);
  }

  activation(): Activation {
    return this.choice("activation", Object.keys(activations) as Activation[]);
  }

  /** `bias` and `activation`, which all layers with weights have. */
  output(): { bias: boolean; activation: Activation } {
    return { bias: this.flag("bias"), activation: this.activation() };
  }

  layers(name: string): Layer[] {
    return this.#read<unknown[]>(name, Array.isArray, "a list of layers").map((layer, index) =>
      this.layerOf(layer, (problem) => this.fail(`layer ${index}: ${problem}`)),
    );
  }
}

/** One class of layers in files. {@link layerKind} makes one. */
export interface LayerKind {
  /** its name in files */
  name: string;
  is(layer: Layer): boolean;
  /** the options that a layer of this kind is made from, as JSON; `describe` gives those of layers within it */
  optionsOf(layer: Layer, describe: (layer: Layer) => Description): Record<string, unknown>;
  build(fields: Fields): Layer;
}

/**
 * The kind of the layers whose class is exactly `Class`: a subclass of it is another kind. Mark the call as pure, so that a
 * program which loads no models is bundled without it.
 *
 * @param optionsOf the options that a layer is made from, as JSON; `describe` gives those of layers within it
 * @param build a layer from these options; its parameters are read from the file afterwards
 */
export function layerKind<T extends Layer>(
  name: string,
  Class: abstract new (...args: never[]) => T,
  optionsOf: (layer: T, describe: (layer: Layer) => Description) => Record<string, unknown>,
  build: (fields: Fields) => T,
): LayerKind {
  const is = (layer: Layer): boolean => layer.constructor === Class;
  return { name, is, optionsOf: optionsOf as LayerKind["optionsOf"], build };
}
