/** Reads files in a worker, so that the page stays free however long it takes; nothing is sent anywhere else. */
import { type NumericArray, writeNpz } from "../../../src/index.js";
import { type Inspection, inspect, openFile, toF32 } from "./formats.js";
import type { Member, OpenFile } from "./pieces.js";

export type ToReader =
  | { type: "open"; file: Blob; name: string }
  | { type: "inspect"; member: number }
  /** `fill`: what stands in the place of entries that are not finite */
  | { type: "read"; member: number; fill: number | null }
  /** makes an .npz of these arrays */
  | { type: "pack"; arrays: readonly (readonly [name: string, array: NumericArray])[] }
  /** a piece has been taken: the next one may come */
  | { type: "next" };
export type FromReader =
  | { type: "opened"; kind: string; members: readonly Member[]; skipped: OpenFile["skipped"] }
  | { type: "progress"; done: number }
  | { type: "inspected"; inspection: Inspection }
  | { type: "piece"; values: Float32Array<ArrayBuffer> }
  | { type: "end" }
  | { type: "packed"; bytes: Uint8Array<ArrayBuffer> }
  | { type: "failed"; message: string };

/** pieces that are under way at once: one is written while the next is read */
const AHEAD = 3;

let open: OpenFile | null = null;
let free = AHEAD;
let onFree: (() => void) | null = null;
const tell = (message: FromReader, transfer: Transferable[] = []): void => postMessage(message, { transfer });

async function answer(message: Exclude<ToReader, { type: "next" }>): Promise<void> {
  switch (message.type) {
    case "open": {
      open = null;
      open = await openFile(message.file, message.name);
      const { kind, members, skipped } = open;
      return tell({ type: "opened", kind, members, skipped });
    }
    case "inspect": {
      let told = 0;
      const inspection = await inspect(open!, message.member, (done) => {
        if (done - told < 0.02) return;
        told = done;
        tell({ type: "progress", done });
      });
      return tell({ type: "inspected", inspection });
    }
    case "read":
      free = AHEAD;
      await open!.read(message.member, async (values) => {
        if (free === 0) await new Promise<void>((resolve) => (onFree = resolve));
        free--;
        const piece = toF32(values, message.fill);
        tell({ type: "piece", values: piece }, [piece.buffer]);
      });
      return tell({ type: "end" });
    case "pack":
      return tell({ type: "packed", bytes: writeNpz(message.arrays) as Uint8Array<ArrayBuffer> });
  }
}

addEventListener("message", ({ data }: MessageEvent<ToReader>) => {
  if (data.type === "next") {
    free++;
    onFree?.();
    onFree = null;
    return;
  }
  answer(data).catch((error: Error) => tell({ type: "failed", message: error.message }));
});
