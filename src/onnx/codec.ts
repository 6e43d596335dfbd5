/**
 * Protobuf messages to objects and back. A message that stands unchanged in a changed one is written as the bytes that it was
 * read from, and so is every field that the schema does not list. tenfold has this codec of its own, because a library for
 * protobuf with the declarations of ONNX takes 24 kB of the package, and would write other bytes than some exporters do.
 */
import { TenfoldError } from "../errors.js";

type Scalar = "int32" | "int64" | "uint64" | "float" | "double" | "string" | "bytes";

interface Field {
  name: string;
  number: number;
  /** a scalar, or the name of another message */
  type: string;
  repeated: boolean;
  /** whether lists of numbers are written as one field; both forms are read */
  packed: boolean;
  /** the member `{ case, value }` that stands for several fields, of which one is set */
  oneof: string | undefined;
}

/** Fields of messages by name: `name number type`, with `*` for lists, `*packed`, and the name of a oneof behind. */
export type SchemaText = Readonly<Record<string, string>>;

/** A message: members of its fields. Lists are always there, scalars and messages where they are set. */
export type Message = Record<string, unknown>;

interface MessageType {
  byNumber: ReadonlyMap<number, Field>;
  /** by number, as they are written */
  fields: readonly Field[];
}

const DEFAULTS: Readonly<Record<Scalar, unknown>> = {
  ...{ int32: 0, int64: 0n, uint64: 0n, float: 0, double: 0, string: "" },
  bytes: new Uint8Array(0),
};
const isScalar = (type: string): type is Scalar => Object.hasOwn(DEFAULTS, type);

/** Fields that the schema does not list, each with its tag. */
const UNKNOWN = Symbol("unknown fields");
/** What a message was read from. A copy of a message is another object, which is not in here. */
const sources = new WeakMap<object, Uint8Array>();

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();

/** Deeper nesting than any graph has; a file of brackets alone must not overflow the stack. */
const MOST_DEEP = 100;
/** wire types: varint, 64 bits, a length and bytes, 32 bits */
const [VARINT, BITS64, BYTES, BITS32] = [0, 1, 2, 5];
const wireOf = (type: string): number =>
  type === "float"
    ? BITS32
    : type === "double"
      ? BITS64
      : type === "int32" || type === "int64" || type === "uint64"
        ? VARINT
        : BYTES;

export class Codec {
  private readonly types = new Map<string, MessageType>();
  /** messages inherit the values of scalars that are not set */
  private readonly prototypes = new Map<string, object>();

  constructor(schema: SchemaText) {
    for (const [name, text] of Object.entries(schema)) {
      const fields = text.split(/\s*,\s*/).map((line): Field => {
        const [field, number, type, oneof] = line.trim().split(" ") as [string, string, string, string?];
        const [plain, list] = type.split("*") as [string, string?];
        return {
          ...{ name: field, number: Number(number), type: plain, repeated: list !== undefined },
          ...{ packed: list === "packed", oneof },
        };
      });
      this.types.set(name, {
        fields: [...fields].sort((a, b) => a.number - b.number),
        byNumber: new Map(fields.map((field) => [field.number, field])),
      });
      const unset = fields.filter(({ repeated, oneof, type }) => !repeated && !oneof && isScalar(type));
      this.prototypes.set(name, Object.fromEntries(unset.map(({ name, type }) => [name, DEFAULTS[type as Scalar]])));
    }
  }

  /** A message with these members. */
  make(type: string, members: object = {}): Message {
    const message = Object.create(this.prototypes.get(type)!) as Message;
    for (const { name, repeated, oneof } of this.types.get(type)!.fields)
      if (repeated) message[name] = [];
      else if (oneof) message[oneof] = { case: undefined };
    return Object.assign(message, members);
  }

  /** @throws TenfoldError where lengths do not fit, or a field contradicts the schema */
  read(type: string, bytes: Uint8Array): Message {
    return new Reader(this, bytes).message(type, bytes.length, this.make(type), 0);
  }

  write(type: string, message: object): Uint8Array {
    const writer = new Writer();
    this.put(writer, type, message as Message);
    return writer.finish();
  }

  /** @internal */
  typeOf(type: string): MessageType {
    return this.types.get(type)!;
  }

  private put(writer: Writer, type: string, message: Message): void {
    const source = sources.get(message);
    if (source) {
      writer.bytes(source);
      return;
    }
    for (const field of this.typeOf(type).fields) {
      const { name, number, type: kind, repeated, packed, oneof } = field;
      if (oneof) {
        const { case: set, value } = message[oneof] as { case: string | undefined; value: unknown };
        if (set === name) this.putField(writer, number, kind, value);
      } else if (!repeated) {
        if (Object.hasOwn(message, name) && message[name] !== undefined)
          this.putField(writer, number, kind, message[name]);
      } else if (packed) {
        const values = message[name] as unknown[];
        if (!values.length) continue;
        const inner = new Writer();
        for (const value of values) inner.scalar(kind as Scalar, value);
        writer.tag(number, BYTES);
        writer.nested(inner);
      } else for (const value of message[name] as unknown[]) this.putField(writer, number, kind, value);
    }
    for (const unknown of (message[UNKNOWN as unknown as string] as Uint8Array[] | undefined) ?? [])
      writer.bytes(unknown);
  }

  private putField(writer: Writer, number: number, type: string, value: unknown): void {
    writer.tag(number, wireOf(type));
    if (isScalar(type)) writer.scalar(type, value);
    else {
      const inner = new Writer();
      this.put(inner, type, value as Message);
      writer.nested(inner);
    }
  }
}

const fail = (problem: string): never => {
  throw new TenfoldError(problem, { code: "FORMAT" });
};

class Reader {
  private at = 0;
  private readonly view: DataView;
  constructor(
    private readonly codec: Codec,
    private readonly buffer: Uint8Array,
  ) {
    this.view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  }

  /** Reads fields into a message, up to a place in the buffer. `first`: nothing was read into it before. */
  message(type: string, end: number, message: Message, depth: number, first = true): Message {
    if (depth > MOST_DEEP) fail(`messages are nested more than ${MOST_DEEP} deep`);
    const { byNumber } = this.codec.typeOf(type);
    const start = this.at;
    while (this.at < end) {
      const from = this.at;
      const tag = this.small(end);
      const [number, wire] = [tag >>> 3, tag & 7];
      if (number === 0) fail(`a field has number 0 at byte ${from}`);
      const field = byNumber.get(number);
      const fits =
        field && (wire === wireOf(field.type) || (wire === BYTES && field.repeated && wireOf(field.type) !== BYTES));
      if (!fits) {
        this.skip(wire, end);
        const unknown = (message[UNKNOWN as unknown as string] ??= []) as Uint8Array[];
        unknown.push(this.buffer.subarray(from, this.at));
      } else if (field.repeated) {
        const list = message[field.name] as unknown[];
        if (wire !== BYTES || wireOf(field.type) === BYTES) list.push(this.value(field, end, undefined, depth));
        else for (const stop = this.length(end); this.at < stop; ) list.push(this.scalar(field.type as Scalar, stop));
      } else if (field.oneof) {
        const before = message[field.oneof] as { case: string | undefined; value?: unknown };
        const value = this.value(field, end, before.case === field.name ? before.value : undefined, depth);
        message[field.oneof] = { case: field.name, value };
      } else
        message[field.name] = this.value(
          field,
          end,
          Object.hasOwn(message, field.name) ? message[field.name] : undefined,
          depth,
        );
    }
    // a message in two parts was read from neither
    if (first) sources.set(message, this.buffer.subarray(start, end));
    else sources.delete(message);
    return message;
  }

  private value({ type }: Field, end: number, before: unknown, depth: number): unknown {
    if (isScalar(type)) return this.scalar(type, end);
    const stop = this.length(end);
    return before
      ? this.message(type, stop, before as Message, depth + 1, false)
      : this.message(type, stop, this.codec.make(type), depth + 1);
  }

  private scalar(type: Scalar, end: number): unknown {
    switch (type) {
      case "int32":
        return Number(BigInt.asIntN(32, this.varint(end)));
      case "int64":
        return BigInt.asIntN(64, this.varint(end));
      case "uint64":
        return this.varint(end);
      case "float":
        return this.view.getFloat32(this.step(4, end), true);
      case "double":
        return this.view.getFloat64(this.step(8, end), true);
      default: {
        const stop = this.length(end);
        const bytes = this.buffer.subarray(this.at, stop);
        this.at = stop;
        return type === "string" ? decoder.decode(bytes) : bytes;
      }
    }
  }

  private skip(wire: number, end: number): void {
    if (wire === VARINT) this.varint(end);
    else if (wire === BITS64) this.step(8, end);
    else if (wire === BITS32) this.step(4, end);
    else if (wire === BYTES) this.at = this.length(end);
    else fail(`a field is of the kind ${wire}, which no ONNX file has, before byte ${this.at}`);
  }

  /** Passes some bytes; where they begin. */
  private step(count: number, end: number): number {
    const from = this.at;
    if (from + count > end) fail(`a number is cut off at byte ${from}`);
    this.at = from + count;
    return from;
  }

  /** Reads a length; where what is so long ends. */
  private length(end: number): number {
    const length = this.small(end);
    if (this.at + length > end) fail(`${length} bytes are announced at byte ${this.at}, and ${end - this.at} follow`);
    return this.at + length;
  }

  /** A varint below 2³². */
  private small(end: number): number {
    let value = 0;
    for (let shift = 1; shift < 2 ** 32; shift *= 128) {
      const byte = this.buffer[this.step(1, end)]!;
      value += (byte & 0x7f) * shift;
      if (byte < 0x80) return value < 2 ** 32 ? value : fail(`a length or a tag is ${value}, before byte ${this.at}`);
    }
    return fail(`a number does not end at byte ${this.at}`);
  }

  private varint(end: number): bigint {
    let [low, high, shift] = [0, 0, 1];
    // 28 bits, then the rest: BigInts are slow
    for (let index = 0; index < 10; index++) {
      const byte = this.buffer[this.step(1, end)]!;
      if (index === 4) shift = 1;
      if (index < 4) low += (byte & 0x7f) * shift;
      else if (index < 9) high += (byte & 0x7f) * shift;
      shift *= 128;
      if (byte < 0x80) {
        const top = index === 9 ? BigInt(byte & 1) << 63n : 0n;
        return index < 4 ? BigInt(low) : (BigInt(high) << 28n) + BigInt(low) + top;
      }
    }
    return fail(`a number does not end at byte ${this.at}`);
  }
}

/** Collects pieces; large ones are not copied until all are put together. */
class Writer {
  private readonly pieces: Uint8Array[] = [];
  private small = new Uint8Array(64);
  private used = 0;
  length = 0;

  bytes(piece: Uint8Array): void {
    if (piece.length <= 32) {
      for (let i = 0; i < piece.length; i++) this.byte(piece[i]!);
      return;
    }
    this.flush();
    this.pieces.push(piece);
    this.length += piece.length;
  }

  nested(inner: Writer): void {
    this.varint(BigInt(inner.length));
    inner.flush();
    for (const piece of inner.pieces) this.bytes(piece);
  }

  tag(number: number, wire: number): void {
    this.varint(BigInt(number * 8 + wire));
  }

  scalar(type: Scalar, value: unknown): void {
    switch (type) {
      case "int32":
      case "int64":
      case "uint64":
        this.varint(BigInt.asUintN(64, BigInt(value as number | bigint)));
        break;
      case "float":
      case "double": {
        const bytes = new DataView(new ArrayBuffer(type === "float" ? 4 : 8));
        if (type === "float") bytes.setFloat32(0, value as number, true);
        else bytes.setFloat64(0, value as number, true);
        this.bytes(new Uint8Array(bytes.buffer));
        break;
      }
      default: {
        const bytes = type === "string" ? encoder.encode(value as string) : (value as Uint8Array);
        this.varint(BigInt(bytes.length));
        this.bytes(bytes);
      }
    }
  }

  finish(): Uint8Array {
    this.flush();
    const out = new Uint8Array(this.length);
    let at = 0;
    for (const piece of this.pieces) {
      out.set(piece, at);
      at += piece.length;
    }
    return out;
  }

  private varint(value: bigint): void {
    let rest = value;
    for (; rest > 127n; rest >>= 7n) this.byte(Number(rest & 127n) | 128);
    this.byte(Number(rest));
  }

  private byte(value: number): void {
    if (this.used === this.small.length) this.flush();
    this.small[this.used++] = value;
    this.length++;
  }

  private flush(): void {
    if (!this.used) return;
    this.pieces.push(this.small.subarray(0, this.used));
    this.small = new Uint8Array(64);
    this.used = 0;
  }
}
