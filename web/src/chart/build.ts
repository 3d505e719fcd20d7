//! From columns of points to what a chart draws, on the pixel grid. Pure: no canvas, no clock.
//!
//! The grid is anchored to absolute time: a point falls into the same pixel column of time for as long as it
//! is shown, and the window moves by whole columns. So a line slides without changing its shape (no shimmer),
//! and between two columns there is nothing to paint. Where many points share a column, its first, lowest,
//! highest and last are kept (M4, Jugel et al., VLDB 2014): the drawn line is the one all points would give.

import type { DevicePixels, UnixMs } from "../units/brand";

export interface Points { readonly t: Float64Array; readonly v: Float64Array }

export interface Grid {
  readonly msPerColumn: number;
  /** Absolute number of the column at x = 0. */
  readonly first: number;
  readonly columns: number;
}

/** Vertices in drawing order; a NaN in `v` lifts the pen. `x` in device pixels from the plot's left. */
export interface Path { readonly x: readonly number[]; readonly v: readonly number[] }

/** One band of a stack: `low` and `high` at each `x`; NaN where no series has data. */
export interface Band { readonly x: readonly number[]; readonly low: readonly number[]; readonly high: readonly number[] }

export interface Extent { readonly low: number; readonly high: number }

/** The columns of a window that ends at `end`, `width` device pixels wide. */
export function makeGrid(end: UnixMs, windowMs: number, width: DevicePixels): Grid {
  const columns = Math.max(1, Math.floor(width));
  const msPerColumn = windowMs / columns;
  return { msPerColumn, first: Math.floor(end / msPerColumn) - columns + 1, columns };
}

const xOf = (t: number, grid: Grid): number => t / grid.msPerColumn - grid.first;
export const timeOf = (x: number, grid: Grid): number => (x + grid.first) * grid.msPerColumn;

/** A silence this long breaks the line: eight usual spacings, at least three seconds. */
export function gapAfter({ t }: Points): number {
  const n = t.length;
  const spacing = n > 1 ? ((t[n - 1] as number) - (t[0] as number)) / (n - 1) : 0;
  return Math.max(3_000, spacing * 8);
}

/** Index range `[from, to)` of the points a window needs: those inside and one on each side. */
export function visibleRange(t: Float64Array, start: number, end: number): readonly [number, number] {
  return [Math.max(0, lowerBound(t, start) - 1), Math.min(t.length, lowerBound(t, end) + 1)];
}

/** First index whose time is at or after `time`. */
export function lowerBound(t: Float64Array, time: number): number {
  let low = 0;
  let high = t.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((t[middle] as number) < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The line of one series on `grid`. */
export function buildLine(points: Points, grid: Grid): Path {
  const { t, v } = points;
  const gap = gapAfter(points);
  const [from, to] = visibleRange(t, timeOf(0, grid), timeOf(grid.columns, grid));
  const x: number[] = [];
  const out: number[] = [];
  let column = Number.NaN;
  let low = 0;
  let high = 0;
  let last = -1;
  let put = -1;
  const emit = (i: number): void => {
    if (i <= put) return;
    x.push(xOf(t[i] as number, grid));
    out.push(v[i] as number);
    put = i;
  };
  // Ends a column: after its first, which is out already, its extremes in the order they came, and its last.
  const close = (): void => {
    if (last < 0) return;
    emit(Math.min(low, high));
    emit(Math.max(low, high));
    emit(last);
    last = -1;
  };
  for (let i = from; i < to; i += 1) {
    const value = v[i] as number;
    const missing = Number.isNaN(value);
    const broken = i > from && (t[i] as number) - (t[i - 1] as number) > gap;
    if (missing || broken) {
      close();
      if (out.length > 0 && !Number.isNaN(out[out.length - 1])) {
        x.push(x[x.length - 1] as number);
        out.push(Number.NaN);
      }
      column = Number.NaN;
      if (missing) continue;
    }
    const here = Math.floor((t[i] as number) / grid.msPerColumn);
    if (here !== column) {
      close();
      column = here;
      emit(i);
      low = high = i;
    } else {
      if (value < (v[low] as number)) low = i;
      if (value > (v[high] as number)) high = i;
    }
    last = i;
  }
  close();
  return { x, v: out };
}

/** Bands of series drawn on top of each other, first at the bottom. */
export function buildStack(series: readonly Points[], grid: Grid): Band[] {
  const times = stackTimes(series, grid);
  const x = times.map((t) => xOf(t, grid));
  const gaps = series.map(gapAfter);
  let floor: number[] = times.map(() => 0);
  const samples = series.map((points, i) => sampleAt(points, times, gaps[i] as number));
  const empty = times.map((_, i) => samples.every((s) => Number.isNaN(s[i] as number)));
  return samples.map((values) => {
    const low = floor;
    const high = low.map((base, i) => (empty[i] ? Number.NaN : base + (Number.isNaN(values[i] as number) ? 0 : (values[i] as number))));
    floor = high.map((h, i) => (Number.isNaN(h) ? (low[i] as number) : h));
    return { x, low, high };
  });
}

/** Where a stack has corners: at every point while they are few, else at every column. */
function stackTimes(series: readonly Points[], grid: Grid): number[] {
  const start = timeOf(0, grid);
  const end = timeOf(grid.columns, grid);
  const times = new Set<number>();
  for (const { t } of series) {
    const [from, to] = visibleRange(t, start, end);
    for (let i = from; i < to; i += 1) times.add(t[i] as number);
    if (times.size > grid.columns) return Array.from({ length: grid.columns }, (_, column) => timeOf(column, grid));
  }
  return [...times].sort((a, b) => a - b);
}

/** Values at `times` (ascending), linear between points; NaN outside them and inside gaps. */
export function sampleAt({ t, v }: Points, times: readonly number[], gap: number): number[] {
  let i = 0;
  return times.map((time) => {
    while (i < t.length && (t[i] as number) < time) i += 1;
    if (i < t.length && t[i] === time) return v[i] as number;
    if (i === 0 || i >= t.length) return Number.NaN;
    const t0 = t[i - 1] as number;
    const t1 = t[i] as number;
    if (t1 - t0 > gap) return Number.NaN;
    return (v[i - 1] as number) + (((v[i] as number) - (v[i - 1] as number)) * (time - t0)) / (t1 - t0);
  });
}

/** The value a cursor at `time` reads: the newest point at or before it, if not older than the gap. */
export function valueAt(points: Points, time: number): number {
  const i = lowerBound(points.t, time + 1e-6) - 1;
  if (i < 0 || time - (points.t[i] as number) > gapAfter(points)) return Number.NaN;
  return points.v[i] as number;
}

/** Lowest and highest of what is drawn; `low > high` if nothing is. */
export function extentOf(columns: readonly (readonly number[])[]): Extent {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const values of columns) {
    for (const value of values) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return { low, high };
}
