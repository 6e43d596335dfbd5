/** What is said above the parts where something is missing or lost. */
import { html, type TemplateResult } from "lit-html";
import { messageOf } from "./runner.js";

export const lostNotice = (error: Error, onAgain: () => void): TemplateResult => html`
  <div class="notice" id="lost">
    <strong>The GPU is gone.</strong>
    <p>
      ${error.message}. Drivers restart and laptops switch GPUs; what ran is lost, and can be started again.
    </p>
    <button type="button" @click=${onAgain}>Start again</button>
  </div>`;

const INSECURE = "WebGPU works on https:// and localhost only; this page came another way. ";
const BROWSERS =
  "Chrome and Edge have it from version 113 (Linux may need chrome://flags/#enable-unsafe-webgpu and #enable-vulkan), Safari from 26, Firefox from 141 on Windows and 145 on Macs (elsewhere: dom.webgpu.enabled in about:config). Below are results recorded on other machines.";

export const noGpuNotice = (error: unknown): TemplateResult => html`
  <div class="notice" id="no-gpu">
    <strong>This needs WebGPU, and this browser gives none here.</strong>
    <p>${isSecureContext ? "" : INSECURE}${BROWSERS}</p>
    ${"gpu" in navigator ? html`<p class="small">${messageOf(error)}</p>` : ""}
  </div>`;
