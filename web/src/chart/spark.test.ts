import { describe, expect, it } from "vitest";

import { sparkPaths } from "./spark";

const points = (values: readonly number[]) => ({ t: Float64Array.from(values, (_, i) => 1_000_000 + i * 1_000), v: Float64Array.from(values) });

describe("sparkPaths", () => {
  it("stays inside its box and ends at its right edge", () => {
    const { line } = sparkPaths(points([1, 5, 3, 9, 2]), 100, 40, 2);
    const pairs = [...line.matchAll(/([\d.]+) ([\d.-]+)/g)].map(([, x, y]) => [Number(x), Number(y)] as const);
    expect(pairs.length).toBeGreaterThan(3);
    for (const [x, y] of pairs) {
      expect(x).toBeGreaterThanOrEqual(2);
      expect(x).toBeLessThanOrEqual(98);
      expect(y).toBeGreaterThanOrEqual(2);
      expect(y).toBeLessThanOrEqual(38);
    }
  });

  it("keeps a flat value calm and in the middle", () => {
    const { line } = sparkPaths(points([50, 50.1, 50, 50.1]), 100, 40, 2);
    for (const [, y] of line.matchAll(/[\d.]+ ([\d.]+)/g)) expect(Math.abs(Number(y) - 20)).toBeLessThan(2);
  });

  it("breaks the line where there is no value and closes each area", () => {
    const { line, area } = sparkPaths(points([1, 2, Number.NaN, 3, 4]), 100, 40, 2);
    expect(line.match(/M/g)).toHaveLength(2);
    expect(area.match(/Z/g)).toHaveLength(2);
  });

  it("draws nothing of one point, of none, or without room", () => {
    expect(sparkPaths(points([1]), 100, 40, 2).line).toBe("");
    expect(sparkPaths(points([]), 100, 40, 2).line).toBe("");
    expect(sparkPaths(points([1, 2]), 4, 40, 2).line).toBe("");
  });
});
