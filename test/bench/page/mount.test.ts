import { html } from "lit-html";
import { describe, expect, it } from "vitest";
import { mounting } from "../../../bench/page/mount.js";
import type { Change, Context, Moved, Part, Run, Store } from "../../../bench/page/part.js";

interface State {
  rank: number;
  loaded: string[];
}
type Event = Change<{ rank: number }> | Moved | { type: "loaded"; name: string };

const rankOf = (query: URLSearchParams): number => Number(query.get("rank") ?? 3);

/** The smallest part that there is, and what is done to it. */
function watchedPart() {
  const calls: string[] = [];
  let store!: Store<State, Event>;
  const part: Part<State, Event, Run> = {
    initial: (query, left) => ({ rank: rankOf(query), loaded: left?.loaded ?? [] }),
    update(state, event) {
      if (event.type === "change") return { ...state, ...event.values };
      if (event.type === "moved") return { ...state, rank: rankOf(event.query) };
      return { ...state, loaded: [...state.loaded, event.name] };
    },
    query: ({ rank }) => ({ rank: String(rank) }),
    run(created) {
      store = created;
      return {
        apply: () => void calls.push(`apply ${store.state.rank}`),
        destroy: async () => void calls.push("destroy"),
        record: () => store.state.rank,
      };
    },
    view: () => ({
      render: ({ rank, loaded }) => {
        calls.push(`draw ${[rank, ...loaded].join(" ")}`);
        return html``;
      },
      destroy: () => void calls.push("leave"),
    }),
  };
  const mount = mounting(part, () => {});
  const open = (query: string) =>
    mount({} as HTMLElement, {} as Context, new URLSearchParams(query), ({ rank }) => void calls.push(`write ${rank}`));
  return { open, calls, send: (event: Event) => store.send(event), taken: () => calls.splice(0) };
}
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

describe("a mounted part", () => {
  it("shows what the URL asks for, and does it", () => {
    const { open, taken } = watchedPart();
    open("rank=5");
    expect(taken()).toEqual(["draw 5", "apply 5"]);
  });

  it("writes what the user sets, does it, and draws once a task", async () => {
    const { open, send, taken } = watchedPart();
    open("");
    taken();
    send({ type: "change", values: { rank: 7 } });
    send({ type: "loaded", name: "digits" });
    expect(taken()).toEqual(["write 7", "apply 7"]);
    await turn();
    expect(taken()).toEqual(["draw 7 digits"]);
  });

  it("follows Back and Forward, and writes nothing then", async () => {
    const { open, taken } = watchedPart();
    const mounted = open("rank=5");
    taken();
    mounted.moved(new URLSearchParams("rank=2"));
    await turn();
    expect(taken()).toEqual(["apply 2", "draw 2"]);
    expect(mounted.record()).toBe(2);
  });

  it("frees what it holds when it is left, draws no more, and knows how it was left", async () => {
    const { open, send, taken } = watchedPart();
    const mounted = open("rank=5");
    send({ type: "loaded", name: "digits" });
    await turn();
    taken();
    await mounted.unmount();
    expect(taken()).toEqual(["leave", "destroy"]);
    send({ type: "change", values: { rank: 9 } });
    await turn();
    expect(taken().filter((call) => call.startsWith("draw"))).toEqual([]);
    open("rank=4");
    expect(taken()).toEqual(["draw 4 digits", "apply 4"]);
  });
});
