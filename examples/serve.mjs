/** `node examples/serve.mjs NAME`: serves the repository on localhost, as WebGPU needs http: or https:, and says where the example is. */
import { createReadStream, existsSync, readdirSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const name = process.argv[2] ?? "import-map";
const isPage = (folder) => existsSync(join(import.meta.dirname, folder, "index.html"));
if (!isPage(name)) {
  const pages = readdirSync(import.meta.dirname).filter(isPage);
  console.error(`serve: ${name} is no page here; there are ${pages.join(", ")}`);
  process.exit(2);
}
if (!existsSync(join(root, "dist/index.js"))) {
  console.error("serve: dist/ is missing, which npm ci (or npm run build) makes");
  process.exit(2);
}
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

const server = createServer((request, response) => {
  let path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
  if (path.endsWith("/")) path += "index.html";
  const file = join(root, path);
  if (!statSync(file, { throwIfNoEntry: false })?.isFile()) return response.writeHead(404).end();
  response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
  createReadStream(file).pipe(response);
});
server.listen(0, "127.0.0.1", () =>
  console.log(`http://localhost:${server.address().port}/examples/${name}/ (Ctrl-C ends)`),
);
