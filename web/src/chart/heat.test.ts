import { describe, expect, it } from "vitest";
import type { Points } from "./build";
import { classOf, HeatModel, largestIn, shadeOf, type HeatRow } from "./heat";
import type { Palette } from "./palette";

const points = (...pairs: [number, number][]): Points => ({ t: Float64Array.from(pairs, (p) => p[0]), v: Float64Array.from(pairs, (p) => p[1]) });
const palette: Palette = { series: [], heat: ["0", "1", "2", "3", "4", "5", "6", "7"], grid: "grey", text: "black", cursor: "black", surface: "white", font: "serif", fontSize: 12 };
const model = (width = 300): HeatModel => {
  const heat = new HeatModel({ windowMs: 50_000, stepMs: 10_000, steps: [1, 10] }, (text) => 6 * text.length);
  heat.resize(width, 120, 2);
  return heat;
};
const rows: HeatRow[] = [
  { label: "a/0", points: points([100_000, 0.5], [110_000, 5], [140_000, 50]) },
  { label: "a/1", points: points([90_000, 7], [120_000, Number.NaN], [130_000, 1]) },
];

describe("classes", () => {
  it("begin at their step", () => expect([0, 0.99, 1, 9, 10, 1e9].map((v) => classOf(v, [1, 10]))).toEqual([0, 0, 1, 1, 2, 2]));
  it("take the whole ramp, however many there are", () => {
    expect([0, 1, 2].map((c) => shadeOf(c, 3, 8))).toEqual([0, 4, 7]);
    expect([0, 1].map((c) => shadeOf(c, 2, 8))).toEqual([0, 7]);
    expect(Array.from({ length: 8 }, (_, c) => shadeOf(c, 8, 8))).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });
});

it("shows the largest value of a column, and nothing where there is none", () => {
  const many = points([10, 3], [12, Number.NaN], [15, 8], [19, 5], [20, 9]);
  expect(largestIn(many, 10, 20)).toBe(8);
  expect(largestIn(many, 12, 13)).toBeNaN();
  expect(largestIn(many, 21, 30)).toBeNaN();
});

it("has a cell for every value of the window, in its place and colour", () => {
  const heat = model();
  const picture = heat.picture(rows, 145_000, palette, { row: 0, column: 14 });
  // Of 100 s to 150 s: the value of 90 s is past, the NaN is none.
  expect([...(picture?.colours ?? [])]).toEqual([0, 4, 7, 4]);
  const { plot, cells } = picture as NonNullable<typeof picture>;
  const wide = plot.width / 5;
  const columns = Array.from({ length: 4 }, (_, i) => Math.round(((cells[4 * i] as number) - plot.left) / wide));
  expect(columns).toEqual([0, 1, 4, 3]);
  for (let i = 0; i < cells.length; i += 4) {
    expect((cells[i] as number) + (cells[i + 2] as number)).toBeLessThanOrEqual(plot.left + plot.width + 1);
    expect((cells[i + 1] as number) + (cells[i + 3] as number)).toBeLessThanOrEqual(plot.top + plot.height);
  }
  expect(picture?.rows.map(({ text }) => text)).toEqual(["a/0", "a/1"]);
  expect(picture?.cursor?.x).toBeCloseTo(plot.left + 4 * wide, -1);
  expect(heat.stale(149_999)).toBe(false);
  expect(heat.stale(150_000)).toBe(true);
});

it("knows what is under the pointer, and where a place is", () => {
  const heat = model();
  heat.picture(rows, 145_000, palette, undefined);
  for (const place of [{ row: 0, column: 10 }, { row: 1, column: 14 }]) {
    const point = heat.pointOf(place);
    expect(heat.placeAt(point?.x ?? 0, (point?.y ?? 0) + 5)).toEqual(place);
  }
  expect(heat.placeAt(1, 10)).toBeUndefined();
  expect(heat.valueAt(rows, { row: 0, column: 14 })).toBe(50);
  expect(heat.valueAt(rows, { row: 5, column: 14 })).toBeNaN();
});

it("cuts long names in the middle and thins out names of thin rows", () => {
  const long = Array.from({ length: 40 }, (_, i) => ({ label: `a-very-long-consumer-group · orders/${i}`, points: points([140_000, 1]) }));
  const picture = model(200).picture(long, 145_000, palette, undefined);
  expect(picture?.rows.length).toBeLessThan(10);
  expect(picture?.rows[0]?.text).toMatch(/^a-very.*….*\/0$/);
  expect(picture?.plot.left).toBeLessThanOrEqual(0.36 * 400);
});

it("without rows or room has no cells", () => {
  expect(model().picture([], 145_000, palette, undefined)?.cells).toHaveLength(0);
  const tiny = model();
  tiny.resize(20, 10, 1);
  expect(tiny.picture(rows, 145_000, palette, undefined)).toBeUndefined();
});
