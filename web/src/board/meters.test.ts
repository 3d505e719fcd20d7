import { describe, expect, it } from "vitest";
import { FrameMeter, LatencyMeter, quantile, WINDOW_MS } from "./meters";

describe("latency", () => {
  it("is of the last minute only", () => {
    const meter = new LatencyMeter();
    meter.record(500, 0);
    for (let i = 1; i <= 100; i += 1) meter.record(i, WINDOW_MS + i);
    expect(meter.summary(WINDOW_MS + 100)).toEqual({ p50: 50.25, p99: 99.25, max: 100.25, n: 100 });
    expect(meter.summary(1e9).n).toBe(0);
  });
  it("counts every paint of the visit in the histogram", () => {
    const meter = new LatencyMeter();
    for (const ms of [-0.2, 0.1, 12.3, 1e9, Number.NaN]) meter.record(ms, 0);
    expect([meter.histogram.counts[0], meter.histogram.counts[49], meter.histogram.counts.at(-1)]).toEqual([2, 1, 1]);
  });
  it("holds no more than a minute of the fastest display, and forgets the oldest first", () => {
    const meter = new LatencyMeter();
    for (let i = 0; i < 20_000; i += 1) meter.record(i < 10_000 ? 1_000 : 1, i / 1_000);
    expect(meter.summary(20)).toEqual({ p50: 1.25, p99: 1_000.25, max: 1_000.25, n: 14_400 });
    expect(meter.summary(WINDOW_MS + 9.9995)).toEqual({ p50: 1.25, p99: 1.25, max: 1.25, n: 10_000 });
  });
  it("tells slow from stuck", () => {
    const meter = new LatencyMeter();
    for (let i = 0; i < 99; i += 1) meter.record(10, i);
    meter.record(30_000, 99);
    expect(meter.summary(100)).toEqual({ p50: 10, p99: 10, max: 30_000, n: 100 });
    meter.record(5_000, 100);
    meter.record(5_000, 100);
    expect(meter.summary(100).p99).toBe(5_000);
  });
  it("of nothing is not a number", () => {
    expect(new LatencyMeter().summary(0).p50).toBeNaN();
    expect(quantile(new Float64Array(0), 0.5)).toBeNaN();
  });
});

describe("frames", () => {
  const run = (gaps: number[]): FrameMeter => {
    const meter = new FrameMeter();
    let t = 0;
    for (const gap of [0, ...gaps]) meter.frame((t += gap));
    return meter;
  };
  const steady = (n: number, gap: number): number[] => Array.from({ length: n }, () => gap);

  it("are none dropped on a steady display of any rate", () => {
    expect(run(steady(200, 16.7)).dropped).toBe(0);
    expect(run(steady(200, 6.94)).dropped).toBe(0);
    expect(run(steady(120, 16.7)).fps).toBeCloseTo(59.9, 0);
  });
  it("are dropped by the number of periods missed", () => {
    expect(run([...steady(60, 16.7), 33.4, ...steady(60, 16.7), 83.5]).dropped).toBe(1 + 4);
  });
  it("are not dropped while the page is hidden", () => {
    const meter = run(steady(60, 16.7));
    meter.pause();
    meter.frame(1e6);
    expect(meter.dropped).toBe(0);
  });
});
