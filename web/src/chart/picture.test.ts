import { expect, it } from "vitest";
import type { Points } from "./build";
import type { Palette } from "./palette";
import { ChartModel, type ChartOptions } from "./picture";

const points = (...pairs: [number, number][]): Points => ({ t: Float64Array.from(pairs, (p) => p[0]), v: Float64Array.from(pairs, (p) => p[1]) });
const palette: Palette = { series: ["red", "blue"], heat: [], grid: "grey", text: "black", cursor: "black", surface: "white", font: "serif", fontSize: 12 };
const model = (options: Partial<ChartOptions> = {}): ChartModel => {
  const chart = new ChartModel({ unit: "short", windowMs: 10_000, stack: false, min: 0, max: undefined, ...options }, (text) => 6 * text.length);
  chart.resize(300, 120, 2);
  return chart;
};
const series = points([1_000, 1], [5_000, 5], [10_000, 10]);

it("has the pixels of the screen and everything inside them", () => {
  const picture = model().picture([series, points([1_000, 2], [10_000, 3])], 10_000, palette, 5_000);
  expect([picture?.width, picture?.height]).toEqual([600, 240]);
  expect(picture?.shapes.map(({ colour, floor }) => [colour, floor])).toEqual([["red", undefined], ["blue", undefined]]);
  const { plot } = picture as NonNullable<typeof picture>;
  for (const { line } of picture?.shapes ?? []) {
    for (let i = 0; i < line.length; i += 2) {
      expect(line[i]).toBeGreaterThanOrEqual(plot.left);
      expect(line[i + 1]).toBeGreaterThanOrEqual(plot.top);
      expect(line[i + 1]).toBeLessThanOrEqual(plot.top + plot.height);
    }
  }
  expect(picture?.rows.map(({ text }) => text)).toEqual(["0", "5", "10"]);
  expect(picture?.columns).toHaveLength(1);
  expect(picture?.cursor?.at).toBeCloseTo(plot.left + plot.width / 2, -1);
  expect(picture?.heads).toHaveLength(2);
});

it("keeps large values apart that lie close together", () => {
  const line = model({ min: undefined }).picture([points([1_000, 1e12], [9_000, 1e12 + 5])], 10_000, palette, undefined)?.shapes[0]?.line as Float32Array;
  expect((line[1] as number) - (line[3] as number)).toBeGreaterThan(20);
});

it("of a stack has a floor at every corner", () => {
  const picture = model({ stack: true }).picture([series, series], 10_000, palette, undefined);
  const [low, high] = picture?.shapes ?? [];
  expect((high?.floor as Float32Array).length).toBe((high?.line.length ?? 0) / 2);
  // The upper band stands on the lower one.
  expect([...(high?.floor as Float32Array)]).toEqual([...(low?.line as Float32Array)].filter((_, i) => i % 2 === 1));
});

it("is stale when the window has moved by a pixel, and not before", () => {
  const chart = model();
  expect(chart.stale(10_000)).toBe(true);
  chart.picture([series], 10_000, palette, undefined);
  const [from, to] = chart.span ?? [0, 0];
  expect(chart.stale(10_000)).toBe(false);
  expect(chart.stale(10_000 + (2 * (to - from)) / 600)).toBe(true);
});

it("has room for the values it names, also when they grow", () => {
  const chart = model();
  for (const top of [1, 1_234_567_890, 5]) {
    const picture = chart.picture([points([1_000, top], [10_000, top])], 10_000, palette, undefined);
    const widest = Math.max(...(picture?.rows ?? []).map(({ text }) => 6 * text.length));
    expect(picture?.plot.left).toBeGreaterThan(widest);
  }
});

it("is none while there is no room", () => {
  const chart = model();
  chart.resize(10, 10, 1);
  expect(chart.picture([series], 10_000, palette, undefined)).toBeUndefined();
});

it("names the time under the pointer", () => {
  const chart = model();
  const plot = chart.picture([series], 10_000, palette, undefined)?.plot;
  expect(chart.timeAt(2)).toBeUndefined();
  const middle = ((plot?.left ?? 0) + (plot?.width ?? 0) / 2) / 2;
  expect(Math.abs((chart.timeAt(middle) ?? 0) - 5_000)).toBeLessThan(300);
});
