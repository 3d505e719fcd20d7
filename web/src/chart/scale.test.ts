import { describe, expect, it } from "vitest";
import { niceRange, niceStep, settleRange, ticks, timeTicks } from "./scale";

describe("a range", () => {
  it("is round and holds the data", () => {
    expect(niceRange(3, 87, {}, "short", 4)).toEqual({ min: 0, max: 100, step: 25 });
    expect(niceRange(950, 1010, {}, "short", 3)).toEqual({ min: 940, max: 1020, step: 20 });
  });
  it("keeps fixed ends", () => {
    expect(niceRange(3, 12, { min: 0, max: 100 }, "percent", 4)).toMatchObject({ min: 0, max: 100 });
  });
  it("survives no data and flat data", () => {
    for (const range of [niceRange(Infinity, -Infinity, {}, "short", 4), niceRange(5, 5, {}, "short", 4), niceRange(0, 0, {}, "bytes", 4), niceRange(-3, -3, { max: -3 }, "short", 4)]) {
      expect(range.max).toBeGreaterThan(range.min);
      expect(ticks(range).length).toBeGreaterThan(1);
    }
  });
  it("of bytes steps in binary units", () => {
    expect(niceStep(1024 ** 3, 5, "bytes") / 1024 ** 2).toBe(256);
  });
});

it("a held range grows at once and shrinks late", () => {
  const held = { min: 0, max: 100, step: 25 };
  expect(settleRange(held, { min: 0, max: 80, step: 20 })).toBe(held);
  expect(settleRange(held, { min: 0, max: 120, step: 30 }).max).toBe(120);
  expect(settleRange(held, { min: 0, max: 40, step: 10 }).max).toBe(40);
});

it("time ticks are round times of the local zone", () => {
  const { at, stepMs } = timeTicks(1_000_000, 1_300_000, 5);
  expect(stepMs).toBe(60_000);
  expect(at.every((t) => t % 60_000 === 0)).toBe(true);
  expect(at.length).toBe(5);
});
