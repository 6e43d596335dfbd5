import { describe, expect, it } from "vitest";
import { Runner } from "../../../bench/page/runner.js";
import { IDLE, type Task, updateTask } from "../../../bench/page/task.js";
import { DeviceLostError } from "../../../src/index.js";

/** A runner, what its task has become, and the errors that it told of. */
function watched() {
  const seen: Task[] = [IDLE];
  const errors: unknown[] = [];
  const runner = new Runner(
    (event) => seen.push(updateTask(seen.at(-1)!, event)),
    (error) => errors.push(error),
  );
  return { runner, seen, errors, task: () => seen.at(-1)! };
}

/** Work that goes on until it is stopped or let go. */
function endless() {
  let release!: (words: string) => void;
  const released = new Promise<string>((resolve) => {
    release = resolve;
  });
  let started = 0;
  const work = async (signal: AbortSignal): Promise<string> => {
    started++;
    const stopped = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
    });
    return Promise.race([released, stopped]);
  };
  return { work, release, started: () => started };
}
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

describe("a runner", () => {
  it("tells how far it is, and how it ends", async () => {
    const { runner, seen } = watched();
    await runner.run(async (_, tell) => {
      tell(0.5, "half");
      tell(7, "beyond");
      return "all";
    });
    expect(seen).toEqual([
      IDLE,
      { phase: "running", done: 0, words: "", ended: 0 },
      { phase: "running", done: 0.5, words: "half", ended: 0 },
      { phase: "running", done: 1, words: "beyond", ended: 0 },
      { phase: "done", done: 1, words: "all", ended: 1 },
    ]);
  });

  it("stops when told to, and runs again", async () => {
    const { runner, task, errors } = watched();
    const running = runner.run(endless().work);
    await turn();
    expect(task().phase).toBe("running");
    runner.abort();
    await running;
    expect(task()).toMatchObject({ phase: "stopped", words: "Stopped.", ended: 1 });
    await runner.run(async () => "again");
    expect(task()).toMatchObject({ phase: "done", words: "again", ended: 2 });
    expect(errors).toEqual([]);
  });

  it("says what work that was stopped has come to", async () => {
    const { runner, task } = watched();
    const running = runner.run(
      (signal) => new Promise((resolve) => signal.addEventListener("abort", () => resolve("Stopped after 3."))),
    );
    await turn();
    await runner.stop();
    await running;
    expect(task()).toMatchObject({ phase: "stopped", words: "Stopped after 3.", done: 0 });
  });

  it("of work that waits only the last is done", async () => {
    const { runner, task } = watched();
    const [first, second] = [endless(), endless()];
    void runner.run(first.work);
    await turn();
    const skipped = runner.run(second.work);
    await runner.run(async () => "third");
    await skipped;
    expect([first.started(), second.started()]).toEqual([1, 0]);
    expect(task()).toMatchObject({ phase: "done", words: "third", ended: 2 });
  });

  it("stopping takes what waits along", async () => {
    const { runner, task } = watched();
    const [first, second] = [endless(), endless()];
    void runner.run(first.work);
    await turn();
    void runner.run(second.work);
    await runner.stop();
    await turn();
    expect(second.started()).toBe(0);
    expect(task().phase).toBe("stopped");
  });

  it("says what was known already, once what runs has ended", async () => {
    const { runner, seen } = watched();
    void runner.run(endless().work);
    await turn();
    await runner.settle("known");
    expect(seen.slice(-2)).toEqual([
      { phase: "stopped", done: 0, words: "Stopped.", ended: 1 },
      { phase: "done", done: 1, words: "known", ended: 1 },
    ]);
  });

  it("tells of an error, and can be started again", async () => {
    const { runner, task, errors } = watched();
    const error = new Error("no cases");
    await runner.run(async () => {
      throw error;
    });
    expect(task()).toMatchObject({ phase: "failed", words: "no cases", ended: 1 });
    expect(errors).toEqual([error]);
    await runner.run(async () => "fine");
    expect(task().phase).toBe("done");
  });

  it("tells of a lost device also where it was being stopped", async () => {
    const { runner, errors } = watched();
    const lost = new DeviceLostError("unknown", "the driver was restarted");
    const running = runner.run(
      (signal) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(lost))),
    );
    await turn();
    runner.abort();
    await running;
    expect(errors).toEqual([lost]);
  });
});
