/** Work that takes a while, as values: what its button, its bar and its status line show. */

export interface Task {
  phase: "idle" | "running" | "done" | "failed" | "stopped";
  /** share of the work that is done, 0 to 1 */
  done: number;
  words: string;
  /** how many runs have ended */
  ended: number;
}

export type TaskEvent =
  | { type: "begin" }
  | { type: "progress"; done: number; words: string }
  | { type: "end"; phase: "done" | "failed" | "stopped"; words: string }
  /** nothing had to run: the result was there already */
  | { type: "known"; words: string };

export const IDLE: Task = { phase: "idle", done: 0, words: "", ended: 0 };

export function updateTask(task: Task, event: TaskEvent): Task {
  switch (event.type) {
    case "begin":
      return { ...task, phase: "running", done: 0 };
    case "progress":
      return { ...task, done: Math.min(1, event.done), words: event.words };
    case "end": {
      const { phase, words } = event;
      return { phase, words, done: phase === "done" ? 1 : task.done, ended: task.ended + 1 };
    }
    case "known":
      return { ...task, phase: "done", done: 1, words: event.words };
  }
}
