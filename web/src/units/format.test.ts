import { describe, expect, it } from "vitest";
import { fromNanos } from "./brand";
import { formatSpan, formatText, formatTick, formatValue, type Unit } from "./format";

const text = (value: number, unit: Unit): string => formatText(value, unit).replaceAll("\u00A0", " ");

describe("values keep about three figures", () => {
  it.each<[number, Unit, string]>([
    [0, "percent", "0.0 %"],
    [42.04, "percent", "42.0 %"],
    [99.96, "percent", "100 %"],
    [0, "bytes", "0 B"],
    [1023, "bytes", "1023 B"],
    [1024, "bytes", "1.00 KiB"],
    [1023.9 * 1024, "bytes", "1.00 MiB"],
    [2.5 * 1024 ** 3, "bytes", "2.50 GiB"],
    [150 * 1024 ** 2, "bytes_per_second", "150 MiB/s"],
    [0.0000000123, "seconds", "12.3 ns"],
    [0.01234, "seconds", "12.3 ms"],
    [0.9999, "seconds", "1.00 s"],
    [0, "seconds", "0 s"],
    [300, "seconds", "5.00 min"],
    [86_400, "seconds", "24.0 h"],
    [3, "short", "3"],
    [2.5, "short", "2.50"],
    [1118, "short", "1,118"],
    [99_999, "short", "99,999"],
    [1_234_567, "short", "1.23 M"],
    [2246.4, "per_second", "2,246 /s"],
    [12.3, "currency", "€ 12.30"],
    [1_234_567, "currency:CNY", "¥ 1.23 M"],
    [-5, "percent", "−5.0 %"],
    [Number.NaN, "bytes", "–"],
    [Number.POSITIVE_INFINITY, "short", "–"],
  ])("%d in %s is %s", (value, unit, expected) => {
    expect(text(value, unit)).toBe(expected);
  });

  it("rounds before it chooses the figures", () => {
    expect(formatValue(9.996 * 1024, "bytes").number).toBe("10.0");
  });
});

describe("ticks", () => {
  it.each<[number, number, Unit, string]>([
    [50, 25, "percent", "50%"],
    [0.25, 0.25, "short", "0.25"],
    [2000, 500, "per_second", "2k"],
    [1.5 * 1024 ** 3, 0.5 * 1024 ** 3, "bytes", "1.5 GiB"],
    [0.02, 0.01, "seconds", "20 ms"],
    [0, 0.01, "seconds", "0"],
  ])("%d by %d in %s is %s", (value, step, unit, expected) => {
    expect(formatTick(value, step, unit).replaceAll("\u00A0", " ")).toBe(expected);
  });
});

it("spans show their two largest parts", () => {
  const span = (ms: number): string => formatSpan(ms).replaceAll("\u00A0", " ");
  expect([0, 59_900, 61_000, 3_661_000, 90_000_000].map(span)).toEqual([
    "0 s",
    "59 s",
    "1 m 01 s",
    "1 h 01 m",
    "1 d 1 h",
  ]);
});

it("nanoseconds keep their microseconds", () => {
  expect(fromNanos(1_795_000_000_123_456_789n)).toBe(1_795_000_000_123.456);
});
