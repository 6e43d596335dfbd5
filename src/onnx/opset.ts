/**
 * Raises a model's version of ONNX's operators to 13. What operators mean changed on the way for those that are named here
 * (https://github.com/onnx/onnx/blob/main/docs/Changelog.md); all others mean the same or take more.
 */
import { TenfoldError } from "../errors.js";
import { FLOAT } from "./dataTypes.js";
import { GraphFacts, isStandard } from "./graph.js";
import { nameOf } from "./layers.js";
import { OnnxModel } from "./model.js";
import {
  type Attributes,
  copyOf,
  elementTypeOf,
  type GraphProto,
  intOf,
  intsOf,
  makeNode,
  maybeFloatOf,
  type NodeProto,
  withAttributes,
  withSubgraphs,
} from "./proto.js";
import { Shapes } from "./shapes.js";

/** The oldest version that is raised. */
const OLDEST = 7;

/**
 * The model with the operators of version 13, and the same outputs.
 *
 * @throws TenfoldError (OPTION) where an operator cannot be written in the later version, or the model is older than version 7
 */
export function raiseOpset(model: OnnxModel, to: 13): OnnxModel {
  const { proto } = model;
  const from = model.opsets.get("") ?? 1;
  if (from >= to) return model;
  const raiser = new Raiser(model, from);
  if (from < OLDEST) raiser.refuse(`only versions from ${OLDEST} on are raised`);
  if (proto.trainingInfo.length) raiser.refuse("it holds a training algorithm");
  const opsetImport = proto.opsetImport.map((one) =>
    one.domain === "" || one.domain === "ai.onnx" ? copyOf(one, { version: BigInt(to) }) : one,
  );
  const raised = copyOf(proto, { graph: raiser.graph(model.graph), opsetImport });
  return new OnnxModel(model.file, raised, model.external, null);
}

class Raiser {
  private readonly shapes: Shapes;
  private readonly facts: GraphFacts;
  private readonly names: Set<string>;
  private readonly types: ReadonlyMap<string, number>;

  constructor(
    private readonly model: OnnxModel,
    private readonly from: number,
  ) {
    this.facts = new GraphFacts(model);
    this.shapes = new Shapes(model, this.facts);
    this.names = new Set(this.facts.names);
    const { graph } = model;
    this.types = new Map(
      [...graph.input, ...graph.output, ...graph.valueInfo].map((info) => [info.name, elementTypeOf(info)]),
    );
  }

  refuse(problem: string): never {
    throw new TenfoldError(
      `${this.model.file}: its operators are of version ${this.from}, and 13 is needed: ${problem}; export the model with operator set 13 or newer`,
      { code: "OPTION" },
    );
  }

  graph(graph: GraphProto): GraphProto {
    return copyOf(graph, { node: graph.node.flatMap((node) => this.node(node)) });
  }

  private node(before: NodeProto): NodeProto[] {
    const node = withSubgraphs(before, (inner) => this.graph(inner));
    if (!isStandard(node)) return [node];
    const { opType, input } = node;
    const older = (version: number): boolean => this.from < version;
    /** attributes that became inputs, in their order */
    const moved = (inputs: [name: string, value: Attributes | null][], start = 1): NodeProto[] => {
      const constants: NodeProto[] = [];
      const names = inputs.map(([name, value]) => {
        if (!value) return "";
        constants.push(this.constant(node, name, value));
        return constants.at(-1)!.output[0]!;
      });
      while (names.at(-1) === "") names.pop();
      const gone = Object.fromEntries(inputs.map(([name]) => [name, undefined]));
      return [...constants, copyOf(withAttributes(node, gone), { input: [...input.slice(0, start), ...names] })];
    };
    const ints = (name: string): Attributes | null => {
      const values = intsOf(node, name);
      return values && { value_ints: values };
    };
    const float = (name: string): Attributes | null => {
      const value = maybeFloatOf(node, name);
      if (value === null) return null;
      const type = this.types.get(input[0] ?? "") ?? FLOAT;
      if (type !== FLOAT) this.refuse(`${opType} ${nameOf(node)} is of no float32`);
      return { value_float: { float: value } };
    };
    switch (opType) {
      case "Squeeze":
      case "Unsqueeze":
        return moved([["axes", ints("axes")]]);
      case "ReduceSum":
        return moved([["axes", ints("axes")]]);
      case "Split":
        return moved([["split", ints("split")]]);
      case "Softmax":
      case "LogSoftmax":
      case "Hardmax":
        return this.softmax(node);
      case "Clip":
        return older(11)
          ? moved([
              ["min", float("min")],
              ["max", float("max")],
            ])
          : [node];
      case "Pad":
        return older(11)
          ? moved([
              ["pads", ints("pads")],
              ["value", float("value")],
            ])
          : [node];
      case "Slice":
        return older(10)
          ? moved([
              ["starts", ints("starts")],
              ["ends", ints("ends")],
              ["axes", ints("axes")],
            ])
          : [node];
      case "TopK":
        return older(10) ? moved([["k", { value_ints: [intOf(node, "k", 1)] }]]) : [node];
      case "Dropout":
        if (older(12) && (this.facts.uses.get(node.output[1] ?? "") ?? 0) > 0)
          this.refuse(`the mask of ${opType} ${nameOf(node)} is used`);
        // nothing is dropped in inference
        return [
          older(12) ? copyOf(withAttributes(node, { ratio: undefined }), { output: node.output.slice(0, 1) }) : node,
        ];
      case "BatchNormalization":
        if (older(9) && intOf(node, "spatial", 1) !== 1) this.refuse(`${opType} ${nameOf(node)} is not spatial`);
        return [older(9) ? withAttributes(node, { spatial: undefined }) : node];
      case "Upsample":
      case "Resize": {
        if (!older(11)) return [node];
        const scales =
          opType === "Upsample" && older(9) ? this.refuse(`${opType} ${nameOf(node)} is of version 7`) : input[1]!;
        const resized = withAttributes(node, { coordinate_transformation_mode: "asymmetric", nearest_mode: "floor" });
        return [copyOf(resized, { opType: "Resize", input: [input[0]!, "", scales] })];
      }
      case "Scatter":
        return [copyOf(node, { opType: "ScatterElements" })];
      case "Scan":
        if (older(9)) this.refuse(`${opType} ${nameOf(node)} is of version 8`);
        return [node];
      default:
        return [node];
    }
  }

  /** Before version 13 the axes from `axis` on, 1 by default, counted as one. */
  private softmax(node: NodeProto): NodeProto[] {
    const axis = intOf(node, "axis", 1);
    const shape = this.shapes.of(node.input[0]);
    const last = shape && (axis < 0 ? axis + shape.length : axis) === shape.length - 1;
    if (last || axis === -1) return [withAttributes(node, { axis: -1 })];
    const name = (part: string): string => this.unique(`${nameOf(node)}/${part}`);
    const [extents, flat, soft] = [name("extents"), name("flat"), name("soft")] as const;
    const [x, y] = [node.input[0]!, node.output[0]!];
    return [
      makeNode("Shape", name("Shape"), [x], [extents], {}),
      makeNode("Flatten", name("Flatten"), [x], [flat], { axis }),
      copyOf(withAttributes(node, { axis: -1 }), { input: [flat], output: [soft] }),
      makeNode("Reshape", name("Reshape"), [soft, extents], [y], {}),
    ];
  }

  private constant(node: NodeProto, part: string, value: Attributes): NodeProto {
    const name = this.unique(`${nameOf(node)}/${part}`);
    return makeNode("Constant", name, [], [name], value);
  }

  private unique(wanted: string): string {
    let name = wanted;
    for (let count = 2; this.names.has(name); count++) name = `${wanted}_${count}`;
    this.names.add(name);
    return name;
  }
}
