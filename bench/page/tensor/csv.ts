/** Text of numbers: a table as a matrix, or a line an entry with its place. Read as a stream. */
import { TextReader } from "../../../src/index.js";
import { inPieces, type Member, type OpenFile, type Take } from "./pieces.js";

/** A table may also be entries where the tensor that they make has at most so many times more entries than there are lines. */
const SPARSEST = 100;

export async function openCsv(blob: Blob, name: string): Promise<OpenFile> {
  const text = new TextReader(name);
  const reader = blob.stream().getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) text.push(next.value);
  const { matrix, entries, asked, hasHead, hasRowNames } = text.end();
  const choices: { member: Member; read: (take: Take) => Promise<void> }[] = [];
  const common = { dtype: "text", isColumnMajor: false };
  if (matrix) {
    const notes = [
      ...(hasHead ? ["the first line names the columns"] : []),
      ...(hasRowNames ? ["the first column names the rows"] : []),
    ];
    const member = {
      name: "the table, as a matrix",
      shape: matrix.shape,
      modes: ["rows", "columns"],
      note: notes.join("; "),
      ...common,
    };
    choices.push({ member, read: (take) => inPieces(matrix.data, take) });
  }
  const size = entries?.shape.reduce((a, b) => a * b, 1) ?? 0;
  if (entries && !(matrix && size > SPARSEST * entries.entries)) {
    const isFull = size === entries.entries;
    // what the places are that no line names, only who wrote the file knows
    const absences = [
      { value: 0, name: isFull ? "the lines, as entries" : "the lines, as entries; others are 0" },
      ...(isFull ? [] : [{ value: Number.NaN, name: "the lines, as entries; others are missing" }]),
    ];
    const some = absences.map(({ value, name }) => ({
      member: {
        ...{ name, shape: entries.shape, modes: entries.modes, ...common },
        note: "the last column is the entry, the others are its place",
      },
      read: (take: Take) => inPieces(entries.dense(value).data, take),
    }));
    // lines that fill the tensor they name are its entries, not a table
    if (asked === "entries" || isFull) choices.unshift(...some);
    else choices.push(...some);
  }
  return {
    kind: "text of numbers",
    members: choices.map(({ member }) => member),
    skipped: [],
    read: (member, take) => choices[member]!.read(take),
  };
}
