import { beforeEach, expect, it } from "vitest";
import { PaintScheduler, type FrameSource } from "./scheduler";

class Browser implements FrameSource {
  hidden = false;
  private frames: ((t: number) => void)[] = [];
  private tasks: (() => void)[] = [];
  private time = 0;
  requestFrame(callback: (t: number) => void): void {
    this.frames.push(callback);
  }
  post(callback: () => void): void {
    this.tasks.push(callback);
  }
  frame(): void {
    this.time += 16;
    for (const callback of this.frames.splice(0)) callback(this.time);
    for (const task of this.tasks.splice(0)) task();
  }
}

let browser: Browser;
let log: string[];
let scheduler: PaintScheduler;
const since = (): string[] => log.splice(0);

beforeEach(() => {
  browser = new Browser();
  log = [];
  scheduler = new PaintScheduler(browser, {
    onFrame: () => undefined,
    afterPaint: () => log.push("after"),
    onFailure: (part) => log.push(`${part} failed`),
  });
});

it("paints a part once a frame, however often it is marked, and a clean part never", () => {
  const a = scheduler.register("a", () => log.push("a"));
  scheduler.register("b", () => log.push("b"));
  scheduler.start();
  browser.frame();
  expect(since()).toEqual(["a", "b", "after"]);
  a.mark();
  a.mark();
  browser.frame();
  expect(since()).toEqual(["a", "after"]);
  browser.frame();
  expect(since()).toEqual([]);
});

it("keeps a mark made while painting for the next frame", () => {
  const a = scheduler.register("a", () => {
    log.push("a");
    if (log.length < 3) a.mark();
  });
  scheduler.start();
  browser.frame();
  expect(since()).toEqual(["a", "after"]);
  browser.frame();
  expect(since()).toEqual(["a", "after"]);
});

it("drops only the paint that throws, counts it, and tries again at the next mark", () => {
  const bad = scheduler.register("bad", () => {
    throw new Error("no");
  });
  scheduler.register("good", () => log.push("good"));
  scheduler.start();
  browser.frame();
  expect(since()).toEqual(["bad failed", "good", "after"]);
  browser.frame();
  expect(since()).toEqual([]);
  bad.mark();
  browser.frame();
  expect([since(), scheduler.failures]).toEqual([["bad failed", "after"], 2]);
});

it("paints nothing while hidden and everything when shown again", () => {
  const a = scheduler.register("a", () => log.push("a"));
  scheduler.register("b", () => log.push("b"));
  scheduler.start();
  browser.frame();
  since();
  browser.hidden = true;
  a.mark();
  browser.frame();
  browser.frame();
  expect(since()).toEqual([]);
  browser.hidden = false;
  scheduler.start();
  browser.frame();
  expect(since()).toEqual(["a", "b", "after"]);
});

it("marks everything after a pause in which the browser held its frame back, and goes on once", () => {
  scheduler.register("a", () => log.push("a"));
  scheduler.start();
  browser.frame();
  since();
  // As browsers do: no frame runs while the page is hidden, and the one asked for runs when it is shown.
  scheduler.pause();
  scheduler.start();
  browser.frame();
  expect(since()).toEqual(["a", "after"]);
  browser.frame();
  expect(since()).toEqual([]);
});

it("paints one heavy part a frame, the longest waiting first, and light ones always", () => {
  const parts = ["a", "b", "c"].map((name) => scheduler.register(name, () => log.push(name), { heavy: true }));
  const light = scheduler.register("light", () => log.push("light"));
  scheduler.start();
  browser.frame();
  expect(since()).toEqual(["a", "b", "c", "light", "after"]);
  parts[1]?.mark();
  parts[2]?.mark();
  browser.frame();
  expect(since()).toEqual(["b", "after"]);
  parts[0]?.mark();
  parts[1]?.mark();
  light.mark();
  browser.frame();
  expect(since()).toEqual(["c", "light", "after"]);
  browser.frame();
  browser.frame();
  browser.frame();
  expect(since()).toEqual(["a", "after", "b", "after"]);
});

it("paints a part with a pace no oftener than that, and keeps its mark", () => {
  const slow = scheduler.register("slow", () => log.push("slow"), { paceMs: 40 });
  scheduler.start();
  browser.frame();
  expect(since()).toEqual(["slow", "after"]);
  slow.mark();
  browser.frame();
  browser.frame();
  expect(since()).toEqual([]);
  browser.frame();
  expect(since()).toEqual(["slow", "after"]);
});

it("asks a pace that is a function at each frame", () => {
  let pace = 1_000;
  const part = scheduler.register("part", () => log.push("part"), { paceMs: () => pace });
  scheduler.start();
  browser.frame();
  since();
  part.mark();
  browser.frame();
  expect(since()).toEqual([]);
  pace = 16;
  browser.frame();
  expect(since()).toEqual(["part", "after"]);
});

it("tells a paint the oldest stamp it was marked with since the last one", () => {
  const seen: (number | undefined)[] = [];
  const part = scheduler.register("part", (_, oldest) => seen.push(oldest), { paceMs: 30 });
  scheduler.start();
  browser.frame();
  part.mark(500);
  part.mark(400);
  part.mark();
  browser.frame();
  browser.frame();
  part.mark();
  browser.frame();
  browser.frame();
  expect(seen).toEqual([undefined, 400, undefined]);
});

it("counts the marks that the next frame paints", () => {
  const prompt = scheduler.register("prompt", () => undefined);
  const paced = scheduler.register("paced", () => undefined, { paceMs: 1 });
  const heavy = scheduler.register("heavy", () => undefined, { heavy: true });
  paced.mark(1);
  heavy.mark(1);
  expect(scheduler.prompt).toBe(0);
  prompt.mark(1);
  expect(scheduler.prompt).toBe(1);
});

it("paints what hurries in the next frame, whatever its pace and weight", () => {
  const slow = scheduler.register("slow", () => log.push("slow"), { heavy: true, paceMs: 1_000 });
  const other = scheduler.register("other", () => log.push("other"), { heavy: true });
  scheduler.start();
  browser.frame();
  since();
  other.mark();
  slow.hurry();
  browser.frame();
  expect(since()).toContain("slow");
  browser.frame();
  since();
  slow.mark();
  browser.frame();
  expect(since()).toEqual([]);
});

it("forgets a removed part", () => {
  scheduler.register("a", () => log.push("a")).remove();
  scheduler.start();
  browser.frame();
  expect(since()).toEqual([]);
});

it("runs one chain of frames however often it is started", () => {
  let frames = 0;
  const counted = new PaintScheduler(browser, { onFrame: () => (frames += 1), afterPaint: () => undefined, onFailure: () => undefined });
  counted.start();
  counted.start();
  browser.frame();
  browser.frame();
  expect(frames).toBe(2);
});
