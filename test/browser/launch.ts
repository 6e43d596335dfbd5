/**
 * Opens a headless Chromium with WebGPU, for the tests in a browser, the report's screenshots and the benchmark's page: the one that
 * PUPPETEER_EXECUTABLE_PATH names, or the one in npm @sparticuz/chromium (x86-64 Linux), which needs no installed libraries.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { type Browser, launch as launchPuppeteer } from "puppeteer";
import { unpackChromium } from "../../src/node/driver.js";

export interface LaunchOptions {
  /** CSS pixels of the page, 1280 × 800 by default */
  width?: number;
  height?: number;
  /** 1 by default; 2 draws sharp screenshots */
  deviceScaleFactor?: number;
  /** `swiftshader` (default) needs no GPU; `default` leaves the choice to the browser */
  adapter?: "swiftshader" | "default";
  /** further command line switches of the browser */
  args?: string[];
}

/** The browser's program, and the environment that it needs. */
async function findBrowser(): Promise<{ executablePath: string; env: Record<string, string | undefined> }> {
  const named = process.env.PUPPETEER_EXECUTABLE_PATH;
  if (named) return { executablePath: named, env: process.env };
  const folder = await unpackChromium("chromium", [
    "chromium.br",
    "swiftshader.tar.br",
    "fonts.tar.br",
    "al2023.tar.br",
  ]);
  if (!folder)
    throw new Error(
      "No browser: set PUPPETEER_EXECUTABLE_PATH (npm @sparticuz/chromium brings one for x86-64 Linux only)",
    );
  const executablePath = join(folder, "chromium");
  const env: Record<string, string | undefined> = { ...process.env };
  // the browser has its own Vulkan driver, and must not take one that was set for this process
  delete env.VK_ICD_FILENAMES;
  delete env.VK_DRIVER_FILES;
  if (!existsSync("/etc/fonts/fonts.conf")) {
    const config = join(folder, "fonts-here.conf");
    if (!existsSync(config))
      writeFileSync(
        config,
        `<fontconfig><dir>${join(folder, "fonts")}</dir><cachedir>${folder}</cachedir></fontconfig>`,
      );
    env.FONTCONFIG_FILE = config;
  }
  // the package's libraries (NSS and others) are only used where the browser does not start with the machine's
  if (spawnSync(executablePath, ["--version"], { env }).status !== 0)
    env.LD_LIBRARY_PATH = [join(folder, "lib"), env.LD_LIBRARY_PATH].filter(Boolean).join(":");
  return { executablePath, env };
}

/** Opens the browser. Close it when done. */
export async function launch(options: LaunchOptions = {}): Promise<Browser> {
  const { width = 1280, height = 800, deviceScaleFactor = 1, adapter = "swiftshader", args = [] } = options;
  const { executablePath, env } = await findBrowser();
  return launchPuppeteer({
    executablePath,
    env,
    headless: "shell",
    defaultViewport: { width, height, deviceScaleFactor },
    // ten minutes, because a long run on a software adapter must not count as a page that hangs
    protocolTimeout: 600_000,
    args: [
      "--no-sandbox",
      "--enable-unsafe-webgpu",
      ...(adapter === "swiftshader" ? ["--use-webgpu-adapter=swiftshader"] : []),
      "--disable-dev-shm-usage",
      ...args,
    ],
  });
}

export interface Served {
  /** `http://localhost:PORT/` */
  url: string;
  close(): Promise<void>;
}

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".wasm": "application/wasm",
};

/** Serves a folder, or files in memory by their path, on localhost, because WebGPU needs a secure context and file: is none. */
export async function serve(from: string | Readonly<Record<string, string | Uint8Array>>): Promise<Served> {
  const server = createServer((request, response) => {
    let path = normalize(decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname));
    if (path.endsWith("/")) path += "index.html";
    let body: string | Uint8Array | undefined;
    if (typeof from !== "string") body = from[path.slice(1)];
    else {
      const file = join(from, path);
      if (existsSync(file) && statSync(file).isFile()) body = readFileSync(file);
    }
    const headers = { "content-type": TYPES[extname(path)] ?? "application/octet-stream" };
    if (body === undefined) response.writeHead(404).end();
    else response.writeHead(200, headers).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
