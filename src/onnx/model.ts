import { DATA_TYPES } from "./dataTypes.js";
import { dimensionsOf, elementTypeOf, extentOf, type ModelProto, type ValueInfoProto } from "./proto.js";

/**
 * Reads a part of a file of weights beside a model.
 *
 * @param location the file's path, relative to the model's folder, with `/` between its parts; never outside of that folder
 * @param offset the first byte
 * @param length in bytes
 * @returns exactly `length` bytes
 */
export type ExternalData = (location: string, offset: number, length: number) => Uint8Array | Promise<Uint8Array>;

/** An input or output of a model. */
export interface OnnxValue {
  name: string;
  /** `float32`, `int64`, …; `unknown` where it is no tensor */
  dtype: string;
  /** extents: a name where one is symbolic, null where it is unknown; null as a whole where the rank is unknown */
  shape: (number | string | null)[] | null;
}

/** An ONNX model. It does not change: what changes a model gives another one, which shares the weights of the first. */
export class OnnxModel {
  /** @internal */
  constructor(
    /** the file's name, for messages */
    readonly file: string,
    /** @internal */
    readonly proto: ModelProto,
    /** @internal how bytes of external files are read; null where the caller has not said */
    readonly external: ExternalData | null,
    /** @internal the bytes that the model was read from; null once it was changed */
    readonly source: Uint8Array | null,
  ) {}

  /** @internal */
  get graph() {
    // the reader has refused models without a graph
    return this.proto.graph!;
  }

  /** the version of the format */
  get irVersion(): number {
    return Number(this.proto.irVersion);
  }

  /** versions of operator sets by domain; that of ONNX is `""` */
  get opsets(): ReadonlyMap<string, number> {
    return new Map(
      this.proto.opsetImport.map(({ domain, version }) => [domain === "ai.onnx" ? "" : domain, Number(version)]),
    );
  }

  /** what wrote the model, or `""` */
  get producer(): string {
    return `${this.proto.producerName} ${this.proto.producerVersion}`.trim();
  }

  /** what the model asks for: inputs without those that are weights with a value */
  get inputs(): OnnxValue[] {
    const weights = new Set(this.graph.initializer.map(({ name }) => name));
    return this.graph.input.filter(({ name }) => !weights.has(name)).map(describe);
  }

  get outputs(): OnnxValue[] {
    return this.graph.output.map(describe);
  }

  /** notes by key */
  get metadata(): ReadonlyMap<string, string> {
    return new Map(this.proto.metadataProps.map(({ key, value }) => [key, value]));
  }
}

const describe = (info: ValueInfoProto): OnnxValue => ({
  name: info.name,
  dtype: DATA_TYPES[elementTypeOf(info)]?.name ?? "unknown",
  shape: dimensionsOf(info)?.map(extentOf) ?? null,
});
