//! Scales: which values and times an axis names. Pure.
//!
//! A vertical scale grows at once and shrinks late (`settleRange`), so that a live chart does not breathe.

import type { Unit } from "../units/format";

export interface Range { readonly min: number; readonly max: number; readonly step: number }

/** Under this share of the scale the data has clearly shrunk, and the scale follows. */
const SHRINK_BELOW = 0.55;

/** About `count` round steps over `span`: 1, 2, 2.5 or 5 times a power of ten, or a power of two for bytes. */
export function niceStep(span: number, count: number, unit: Unit = "short"): number {
  const raw = span / Math.max(1, count);
  if (!(raw > 0) || !Number.isFinite(raw)) return 1;
  if ((unit === "bytes" || unit === "bytes_per_second") && raw >= 1) return 2 ** Math.ceil(Math.log2(raw) - 1e-9);
  const power = 10 ** Math.floor(Math.log10(raw));
  const figure = raw / power;
  const nice = figure <= 1 ? 1 : figure <= 2 ? 2 : figure <= 2.5 ? 2.5 : figure <= 5 ? 5 : 10;
  return nice * power;
}

/** The scale for data in `[low, high]`; a fixed end stays, zero is shown when the data is near it. */
export function niceRange(low: number, high: number, fixed: { min?: number | undefined; max?: number | undefined }, unit: Unit, count: number): Range {
  const empty = !(low <= high);
  let min = fixed.min ?? (empty ? 0 : low >= 0 && low <= high * 0.75 ? 0 : low);
  let max = fixed.max ?? (empty ? 1 : high);
  if (max <= min) {
    if (fixed.max === undefined) max = min === 0 ? 1 : min + Math.abs(min) * 0.1;
    else min = max - 1;
  }
  const step = niceStep(max - min, count, unit);
  if (fixed.min === undefined) min = Math.floor(min / step + 1e-9) * step;
  if (fixed.max === undefined) max = Math.ceil(max / step - 1e-9) * step;
  return { min, max, step };
}

/** `wanted`, unless `held` still fits it well: then `held`. */
export function settleRange(held: Range | undefined, wanted: Range): Range {
  if (held === undefined) return wanted;
  const fits = wanted.min >= held.min && wanted.max <= held.max;
  const full = wanted.max - wanted.min > (held.max - held.min) * SHRINK_BELOW;
  return fits && full ? held : wanted;
}

/** The values an axis names, from bottom to top. */
export function ticks({ min, max, step }: Range): number[] {
  const first = Math.ceil(min / step - 1e-9);
  const last = Math.floor(max / step + 1e-9);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => (first + i) * step);
}

const TIME_STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600];

/** Round times in `[from, to]`, at most `count`; `offsetMs` is the local zone's distance from UTC. */
export function timeTicks(from: number, to: number, count: number, offsetMs = 0): { readonly at: readonly number[]; readonly stepMs: number } {
  const span = to - from;
  const wanted = span / Math.max(1, count) / 1000;
  const stepMs = (TIME_STEPS_S.find((s) => s >= wanted) ?? 86_400) * 1000;
  const at: number[] = [];
  for (let t = Math.ceil((from + offsetMs) / stepMs) * stepMs - offsetMs; t <= to; t += stepMs) at.push(t);
  return { at, stepMs };
}
