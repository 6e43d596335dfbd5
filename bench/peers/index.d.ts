import type { PeerModule } from "../case.js";

/** The peers by name, each loaded when it is asked for. */
export const modules: Readonly<Record<string, () => Promise<PeerModule>>>;
