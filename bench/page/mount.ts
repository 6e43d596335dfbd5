/** Puts a part on the page: events change its state, and what has changed is drawn. */
import { render, type TemplateResult } from "lit-html";
import type { Context, Moved, Part, Run } from "./part.js";

export interface Mounted {
  /** the URL has changed */
  moved(query: URLSearchParams): void;
  /** Takes the part away; resolves when all that it held is freed. */
  unmount(): Promise<void>;
  record(): unknown;
}

/**
 * Mounts a part, whichever it is.
 *
 * @param write puts settings into the URL, as a step that Back undoes
 */
export type Mount = (
  container: HTMLElement,
  context: Context,
  query: URLSearchParams,
  write: (query: Record<string, string>) => void,
) => Mounted;

/**
 * @param paint puts what a view gives into the page
 * @returns what mounts the part, any number of times; it knows how the part was left
 */
export function mounting<State, Event extends { type: string }, R extends Run>(
  part: Part<State, Event, R>,
  paint: (template: TemplateResult, container: HTMLElement) => void = render,
): Mount {
  let left: State | null = null;
  return (container, context, query, write) => {
    let state = part.initial(query, left);
    let waiting = false;
    let gone = false;
    const draw = (): void => {
      waiting = false;
      if (!gone) paint(view.render(state), container);
    };
    /** at the end of the task: many events may come in one */
    const drawSoon = (): void => {
      if (!waiting) queueMicrotask(draw);
      waiting = true;
    };
    const send = (event: Event | Moved): void => {
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
      moved: (next) => send({ type: "moved", query: next }),
      async unmount() {
        gone = true;
        left = state;
        view.destroy?.();
        await run.destroy();
      },
      record: () => run.record?.(),
    };
  };
}
