/** Puts a part on the page: events change its state, and what has changed is drawn. */
import { render } from "lit-html";
import type { Context, Part, Run } from "./part.js";

export interface Mounted {
  /** the URL has changed */
  moved(query: URLSearchParams): void;
  /** Takes the part away; resolves when all that it held is freed. */
  unmount(): Promise<void>;
  record(): unknown;
}

/** A part with all that differs between parts closed in; `left` is what it was when it was left last. */
export type Mount = (
  container: HTMLElement,
  context: Context,
  query: URLSearchParams,
  write: (query: Record<string, string>) => void,
) => Mounted;

/** @returns what mounts the part, any number of times; it knows how the part was left */
export function mounting<State, Event extends { type: string }, R extends Run>(part: Part<State, Event, R>): Mount {
  let left: State | null = null;
  return (container, context, query, write) => {
    let state = part.initial(query, left);
    let waiting = false;
    let gone = false;
    const draw = (): void => {
      waiting = false;
      if (!gone) render(view.render(state), container);
    };
    /** at the end of the task: many events may come in one */
    const drawSoon = (): void => {
      if (!waiting) queueMicrotask(draw);
      waiting = true;
    };
    const send = (event: Event): void => {
      state = part.update(state, event);
      drawSoon();
      if (event.type === "change") write(part.query(state));
      if (event.type === "change" || event.type === "moved") run.apply();
    };
    const store = {
      get state() {
        return state;
      },
      send,
    };
    const run = part.run(store, context);
    const view = part.view(send, run);
    draw();
    run.apply();
    return {
      moved: (next) => send({ type: "moved", query: next } as unknown as Event),
      async unmount() {
        gone = true;
        view.destroy?.();
        await run.destroy();
        left = state;
      },
      record: () => run.record?.(),
    };
  };
}
