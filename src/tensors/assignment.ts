/**
 * The assignment of rows to columns with the largest sum (Kuhn 1955, Munkres 1957; by shortest augmenting paths, Jonker & Volgenant 1987),
 * in O(rows²·columns).
 *
 * @param gains rows×columns, row-major, with no more rows than columns
 * @returns of each row, its column
 */
export function assign(gains: ArrayLike<number>, rows: number, columns: number): Uint32Array {
  const cost = (row: number, column: number) => -gains[row * columns + column]!;
  const [ofRows, ofColumns] = [new Float64Array(rows + 1), new Float64Array(columns + 1)];
  /** of a column (from 1), the row (from 1) that it belongs to; 0: none. Column 0 stands for the row that is being placed */
  const rowOf = new Uint32Array(columns + 1);
  for (let row = 1; row <= rows; row++) {
    const distances = new Float64Array(columns + 1).fill(Number.POSITIVE_INFINITY);
    const from = new Uint32Array(columns + 1);
    const isDone = new Uint8Array(columns + 1);
    rowOf[0] = row;
    let column = 0;
    do {
      isDone[column] = 1;
      const present = rowOf[column]!;
      let [least, next] = [Number.POSITIVE_INFINITY, 0];
      for (let to = 1; to <= columns; to++) {
        if (isDone[to]) continue;
        const reduced = cost(present - 1, to - 1) - ofRows[present]! - ofColumns[to]!;
        if (reduced < distances[to]!) {
          distances[to] = reduced;
          from[to] = column;
        }
        if (distances[to]! < least) [least, next] = [distances[to]!, to];
      }
      for (let to = 0; to <= columns; to++) {
        if (isDone[to]) {
          ofRows[rowOf[to]!]! += least;
          ofColumns[to]! -= least;
        } else distances[to]! -= least;
      }
      column = next;
    } while (rowOf[column] !== 0);
    for (; column !== 0; column = from[column]!) rowOf[column] = rowOf[from[column]!]!;
  }
  const assigned = new Uint32Array(rows);
  for (let column = 1; column <= columns; column++) if (rowOf[column]) assigned[rowOf[column]! - 1] = column - 1;
  return assigned;
}
