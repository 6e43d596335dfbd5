import { describe, expect, it } from "vitest";
import { readCsv, readTns } from "../../src/io/index.js";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const csv = (text: string, form?: "matrix" | "entries") => readCsv(bytes(text), "t.csv", form);
const tns = (text: string) => readTns(bytes(text), "t.tns");

describe("a matrix", () => {
  it.each([
    ["commas", "1,2.5,-3\n4,5e2,.5\n"],
    ["semicolons", "1;2.5;-3\r\n4;5e2;.5"],
    ["tabs", "1\t2.5\t-3\n4\t5e2\t.5\n"],
    ["spaces", " 1  2.5 -3\n\n4 5e2   .5 # the end\n"],
    ["semicolons, with decimal commas", "1;2,5;-3\n4;5e2;0,5"],
    ["commas, with decimal commas in quotes", '1,"2,500",-3\n4,"5,0e2","0,5"'],
  ])("parted by %s", (_, text) => {
    const { shape, data, ...more } = csv(text);
    expect([shape, [...data], more]).toEqual([[2, 3], [1, 2.5, -3, 4, 500, 0.5], {}]);
  });

  it.each<[string, string, (string[] | null)[]]>([
    ["columns", '"a","b, ""c""","d"\n1,2.5,-3\n4,5e2,.5\n', [null, ["a", 'b, "c"', "d"]]],
    ["rows", "x 1,1,2.5,-3\ny #2,4,5e2,.5\n", [["x 1", "y #2"], null]],
    [
      "both, as pandas does",
      ",a,b,c\n7,1,2.5,-3\n8,4,5e2,.5\n",
      [
        ["7", "8"],
        ["a", "b", "c"],
      ],
    ],
  ])("may name its %s", (_, text, labels) => {
    expect(csv(text)).toEqual({ shape: [2, 3], data: Float64Array.of(1, 2.5, -3, 4, 500, 0.5), labels });
  });

  it("has NaN where nothing is, and infinity", () => {
    expect([...csv("1,,NA\nnan,inf,-Infinity\n").data]).toEqual([
      ...[1, Number.NaN, Number.NaN, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
    ]);
  });

  it("may be in UTF-16, as spreadsheets write Unicode text", () => {
    const little = Buffer.from("\ufeffa\tb\n1,5\t2\n3\t4\n", "utf16le");
    for (const bytes of [little, Buffer.from(little).swap16()]) {
      const { shape, data, labels } = readCsv(bytes, "u.csv");
      expect([shape, [...data], labels]).toEqual([
        [2, 2],
        [1.5, 2, 3, 4],
        [null, ["a", "b"]],
      ]);
    }
  });

  it("says where quotes do not end", () => {
    const text = new TextEncoder().encode('name,b\nx,1\n"two\nlines",5\n');
    expect(() => readCsv(text, "q.csv")).toThrow(
      "q.csv: line 3 has 1 column, the lines before have 2; its quotes do not end: a cell ends on the line on which it begins",
    );
  });

  it("takes no number with a comma for the name of a row", () => {
    expect([...csv('"1,5","2,25"\n"3,0","-4,125"\n').data]).toEqual([1.5, 2.25, 3, -4.125]);
    expect([...csv('"1,5",2\n"3,75",4\n').data]).toEqual([1.5, 2, 3.75, 4]);
    // names that are no numbers stay names
    expect(csv('"Doe, J",2\n"1,5",4\n"Roe, K",5\n').labels).toEqual([["Doe, J", "1,5", "Roe, K"], null]);
  });

  it("says where a comma may be a decimal one or part thousands", () => {
    const advice = "may have a decimal comma, or commas between thousands: write a point, or none of them";
    expect(() => csv('"1,234",2\n"3,750",4\n')).toThrow(`t.csv: line 1, column 1: "1,234" ${advice}`);
    expect(() => csv('a,b\n2,3\n3,"1,234,567.5"\n')).toThrow(`t.csv: line 3, column 2: "1,234,567.5" ${advice}`);
  });

  it("names the line that is wrong", () => {
    expect(() => csv("1,2\n3\n")).toThrow("t.csv: line 2 has 1 column, the lines before have 2");
    expect(() => csv("1,2\n\n3,x4\n")).toThrow('t.csv: line 3, column 2: "x4" is no number');
    expect(() => csv("")).toThrow("t.csv: the file has no line of numbers");
    expect(() => csv("a,b\n")).toThrow("no line but the names of columns");
  });
});

describe("a table of entries", () => {
  it("has indices from 0 or from 1, mode by mode", () => {
    const { shape, data, entries, labels, modes } = csv("i,j,value\n0,1,5\n2,2,7\n1,3,-1\n");
    expect([shape, [...data], entries]).toEqual([[3, 3], [5, 0, 0, 0, 0, -1, 0, 7, 0], 3]);
    expect([labels, modes]).toEqual([
      [null, null],
      ["i", "j"],
    ]);
  });

  it("numbers words as they appear, and numbers that are no indices by size", () => {
    const text = "who,year,value\nzoe,2024,1\nadam,2022,2\nzoe,2022,3\n";
    const { shape, data, labels } = csv(text);
    expect([shape, [...data]]).toEqual([
      [2, 2],
      [3, 1, 2, 0],
    ]);
    expect(labels).toEqual([
      ["zoe", "adam"],
      ["2022", "2024"],
    ]);
  });

  it("is asked for where no header says so", () => {
    expect(csv("0,0,5\n1,1,6\n").shape).toEqual([2, 3]);
    expect(csv("0,0,5\n1,1,6\n", "entries")).toMatchObject({ shape: [2, 2], data: Float64Array.of(5, 0, 0, 6) });
    // what no line names is 0, or what is asked for
    const nan = Number.NaN;
    expect([...readCsv(bytes("0,0,5\n1,1,6\n"), "t.csv", "entries", nan).data]).toEqual([5, nan, nan, 6]);
    expect([...readTns(bytes("1 1 5\n2 2 6\n"), "t.tns", nan).data]).toEqual([5, nan, nan, 6]);
    // words in the first line are no header where a value follows
    expect(csv("a,1,5\nb,1,6\n", "entries")).toMatchObject({ shape: [2, 1], data: Float64Array.of(5, 6) });
    expect(csv("i,j,value\n0,1,5\n", "matrix").shape).toEqual([1, 3]);
  });

  it("has every entry once, and is no larger than memory", () => {
    expect(() => csv("i,j,value\n0,1,5\n1,0,2\n0,1,6\n")).toThrow("t.csv: line 4: the entry at 0, 1 is there twice");
    expect(() => csv("i,j,value\n0,0,5\n100000,100000,6\n")).toThrow(
      "2 entries of a tensor 100001×100001: as dense it has 10000200001 entries, the most are 268435456; take a part of it",
    );
    expect(() => csv("i,j,value\n0,0,five\n1,1,1\n")).toThrow('line 2, column 3: "five" is no number');
  });
});

describe("a sparse tensor as FROSTT has it", () => {
  it("has indices from 1, also where none is 1", () => {
    const { shape, data, entries } = tns("# comment\n2 1 3 0.5\n1 2 2 -4\n");
    expect([shape, entries]).toEqual([[2, 2, 3], 2]);
    expect([...data]).toEqual([0, 0, 0, 0, -4, 0, 0, 0, 0.5, 0, 0, 0]);
    expect(tns("3 1.5\n2 1\n")).toMatchObject({ shape: [3], data: Float64Array.of(0, 1, 1.5) });
  });

  it("names the line that is wrong", () => {
    expect(() => tns("1 1 2\n0 1 2\n")).toThrow("t.tns: line 2: index 0, needs a whole number from 1 on");
    expect(() => tns("1 1 2\n1 2\n")).toThrow("line 2 has 2 columns, the lines before have 3");
    expect(() => tns("1.5 1 2\n")).toThrow("line 1: index 1.5");
    expect(() => tns("1\n")).toThrow("needs indices and a value");
    expect(() => tns("# nothing\n")).toThrow("t.tns: the file has no line of numbers");
  });
});
