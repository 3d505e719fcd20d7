import { describe, expect, it } from "vitest";
import { devicePixels, unixMs } from "../units/brand";
import { buildLine, buildStack, extentOf, makeGrid, sampleAt, valueAt, type Points } from "./build";

const points = (...pairs: [number, number][]): Points => ({ t: Float64Array.from(pairs, (p) => p[0]), v: Float64Array.from(pairs, (p) => p[1]) });
const grid = (end: number, window: number, width: number): ReturnType<typeof makeGrid> => makeGrid(unixMs(end), window, devicePixels(width));

describe("a line", () => {
  it("keeps its shape while the window slides: only whole columns move", () => {
    const series = points(...Array.from({ length: 400 }, (_, i): [number, number] => [i * 97, Math.sin(i)]));
    const before = buildLine(series, grid(30_000, 10_000, 100));
    const after = buildLine(series, grid(30_500, 10_000, 100));
    const shape = (path: typeof before, shift: number): string[] => path.x.map((x, i) => `${(x + shift).toFixed(6)}:${path.v[i]}`);
    const moved = new Set(shape(before, -5));
    const inside = shape(after, 0).filter((_, i) => (after.x[i] as number) > 1 && (after.x[i] as number) < 90);
    expect(inside.length).toBeGreaterThan(80);
    expect(inside.filter((vertex) => !moved.has(vertex))).toEqual([]);
  });

  it("keeps the lowest and the highest of a crowded column", () => {
    const crowd = points(...Array.from({ length: 10_000 }, (_, i): [number, number] => [i, i === 5_003 ? 99 : i === 5_007 ? -99 : 1]));
    const line = buildLine(crowd, grid(9_999, 10_000, 50));
    expect(line.v).toContain(99);
    expect(line.v).toContain(-99);
    expect(line.v.length).toBeLessThanOrEqual(51 * 4);
    expect([...line.x].sort((a, b) => a - b)).toEqual(line.x);
  });

  it("is broken by a missing value and by a silence", () => {
    const holes = points([1000, 1], [2000, 2], [3000, Number.NaN], [4000, 4], [5000, 5], [30_000, 6]);
    const { v } = buildLine(holes, grid(30_000, 30_000, 300));
    expect(v).toEqual([1, 2, Number.NaN, 4, 5, 6].slice(0, 5).concat(v.slice(5)));
    expect(buildLine(points([0, 1], [100, 1], [200, 1], [300, 1], [400, 1], [500, 1], [600, 1], [700, 1], [800, 1], [900, 1], [9_900, 2]), grid(10_000, 10_000, 100)).v.some(Number.isNaN)).toBe(true);
  });

  it("of nothing is nothing", () => {
    expect(buildLine(points(), grid(1, 1000, 100))).toEqual({ x: [], v: [] });
  });

  it("of one point is that point", () => {
    expect(buildLine(points([500, 7]), grid(1000, 1000, 100)).v).toEqual([7]);
  });
});

describe("a stack", () => {
  it("adds up", () => {
    const a = points([1000, 1], [2000, 2], [3000, 3]);
    const b = points([1000, 10], [2000, 20], [3000, 30]);
    const [low, high] = buildStack([a, b], grid(3000, 3000, 300));
    expect(low?.high).toEqual([1, 2, 3]);
    expect(high?.low).toEqual([1, 2, 3]);
    expect(high?.high).toEqual([11, 22, 33]);
  });
  it("fills in where series are sampled at other times", () => {
    const [, top] = buildStack([points([0, 0], [2000, 2]), points([1000, 10], [3000, 30])], grid(3000, 3000, 300));
    expect(top?.high).toEqual([0, 11, 22, 30]);
  });
  it("has at most one corner a column", () => {
    const dense = points(...Array.from({ length: 5_000 }, (_, i): [number, number] => [i, 1]));
    expect(buildStack([dense], grid(5_000, 5_000, 200))[0]?.x).toHaveLength(200);
  });
});

it("values between points lie on the line, and nowhere in a gap", () => {
  const series = points([0, 0], [100, 10], [9_000, 20]);
  expect(sampleAt(series, [-1, 0, 50, 100, 5_000, 9_001], 1_000)).toEqual([Number.NaN, 0, 5, 10, Number.NaN, Number.NaN]);
});

it("a cursor reads the newest point before it", () => {
  const series = points([0, 1], [1000, 2]);
  expect([valueAt(series, -5), valueAt(series, 999), valueAt(series, 1000), valueAt(series, 100_000)]).toEqual([Number.NaN, 1, 2, Number.NaN]);
});

it("the extent skips what is missing", () => {
  expect(extentOf([[1, Number.NaN, 5], [-2]])).toEqual({ low: -2, high: 5 });
});
