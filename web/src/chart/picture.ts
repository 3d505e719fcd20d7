//! One chart as a picture: everything decided, in device pixels, ready to be drawn in another thread. Pure but
//! for the width of texts, which it is told how to measure.
//!
//! Invariants: `stale` is true exactly when another picture would differ for the sake of time alone; a picture
//! is self-contained and its arrays are its own, so they can be given away.
//! Not here: the canvas (`draw`), legends, titles, pointers (`board/charts`).

import { devicePixels, unixMs } from "../units/brand";
import { formatClock, formatTick, type Unit } from "../units/format";
import { buildLine, buildStack, extentOf, makeGrid, timeOf, type Grid, type Points } from "./build";
import { colourOf, strokeFor, type Palette } from "./palette";
import { niceRange, settleRange, ticks, timeTicks, type Range } from "./scale";

export interface ChartOptions {
  readonly unit: Unit;
  readonly windowMs: number;
  readonly stack: boolean;
  readonly min: number | undefined;
  readonly max: number | undefined;
}

/** A rectangle in device pixels. */
export interface Plot { readonly left: number; readonly top: number; readonly width: number; readonly height: number }

/** A line and what is under it. `floor` is undefined where nothing is filled. */
export interface Shape {
  readonly colour: string;
  /** x, y, x, y, …; a y of NaN lifts the pen. */
  readonly line: Float32Array;
  /** The lower edge at each vertex, or one for all. */
  readonly floor: Float32Array | number | undefined;
  readonly alpha: number;
  readonly lineWidth: number;
}

export interface Mark { readonly at: number; readonly text: string }

export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly plot: Plot;
  /** Device pixels per CSS pixel, and of a hairline. */
  readonly scale: number;
  readonly stroke: number;
  readonly fontPx: number;
  readonly palette: Palette;
  /** Values by height, times by distance from the left. */
  readonly rows: readonly Mark[];
  readonly columns: readonly Mark[];
  readonly shapes: readonly Shape[];
  /** Where each line is now. */
  readonly heads: readonly { readonly x: number; readonly y: number; readonly colour: string }[];
  readonly cursor: Mark | undefined;
}

/** The width of `text` in device pixels, set in `font`. */
export type Measure = (text: string, font: string) => number;

export class ChartModel {
  private range: Range | undefined;
  private grid: Grid | undefined;
  private plot: Plot | undefined;
  private width = 0;
  private height = 0;
  private scale = 1;

  constructor(private readonly options: ChartOptions, private readonly measure: Measure) {}

  /** The canvas is shown at this size, in CSS pixels. */
  resize(width: number, height: number, scale: number): void {
    this.width = Math.round(width * scale);
    this.height = Math.round(height * scale);
    this.scale = scale;
    this.grid = undefined;
  }

  /** Whether at `end` the window has moved by a pixel since the last picture. */
  stale(end: number): boolean {
    return this.grid === undefined || Math.floor(end / this.grid.msPerColumn) !== this.grid.first + this.grid.columns - 1;
  }

  /** Milliseconds in which the window moves by a pixel; endless while nothing is shown. */
  get msPerPixel(): number {
    return this.grid?.msPerColumn ?? Number.POSITIVE_INFINITY;
  }

  /** The time under `x` CSS pixels from the canvas' left, undefined outside the plot. */
  timeAt(x: number): number | undefined {
    if (this.grid === undefined || this.plot === undefined) return undefined;
    const inside = x * this.scale - this.plot.left;
    return inside < 0 || inside > this.plot.width ? undefined : timeOf(inside, this.grid);
  }

  /** The shown window. */
  get span(): readonly [number, number] | undefined {
    return this.grid && [timeOf(0, this.grid), timeOf(this.grid.columns, this.grid)];
  }

  /** The window that ends at `end`; undefined while there is no room for it. */
  picture(series: readonly Points[], end: number, palette: Palette, cursor: number | undefined): Picture | undefined {
    if (this.width < 40 || this.height < 30) return undefined;
    const gutter = this.plot?.left;
    const picture = this.compose(series, end, palette, cursor);
    // A text that the gutter has no room for would be cut off until the next picture.
    return (this.plot?.left ?? 0) > (gutter ?? 0) && this.grid === undefined ? this.compose(series, end, palette, cursor) : picture;
  }

  private compose(series: readonly Points[], end: number, palette: Palette, cursor: number | undefined): Picture {
    const { options, scale, width, height } = this;
    const fontPx = palette.fontSize * scale;
    const stroke = strokeFor(palette, scale);
    const top = Math.ceil(fontPx * 0.7);
    const plotHeight = height - top - Math.ceil(fontPx + 8 * scale);
    const count = Math.max(2, Math.min(5, Math.floor(plotHeight / (fontPx * 2.6))));
    // The gutter needs the range, the range the grid, the grid the gutter: what it was last breaks the circle.
    const left = this.plot?.left ?? Math.ceil(44 * scale);
    const plot: Plot = { left, top, width: width - left - Math.ceil(6 * scale), height: plotHeight };
    const grid = makeGrid(unixMs(end), options.windowMs, devicePixels(plot.width));
    const bands = options.stack ? buildStack(series, grid) : [];
    const lines = options.stack ? [] : series.map((points) => buildLine(points, grid));
    const extent = extentOf(options.stack ? bands.map((band) => band.high) : lines.map((line) => line.v));
    const range = settleRange(this.range, niceRange(options.stack ? Math.min(0, extent.low) : extent.low, extent.high, options, options.unit, count));
    this.range = range;
    this.grid = grid;
    this.plot = plot;

    const y = (value: number): number => plot.top + plot.height * (1 - (value - range.min) / (range.max - range.min));
    const vertices = (xs: readonly number[], values: readonly number[]): Float32Array => {
      const out = new Float32Array(2 * xs.length);
      for (let i = 0; i < xs.length; i += 1) {
        out[2 * i] = plot.left + (xs[i] as number);
        out[2 * i + 1] = y(values[i] as number);
      }
      return out;
    };
    const base = y(Math.max(range.min, Math.min(range.max, 0)));
    const shapes: Shape[] = [
      ...bands.map((band, i) => ({ colour: colourOf(palette, i), line: vertices(band.x, band.high), floor: Float32Array.from(band.low, y), alpha: 0.55, lineWidth: 1.2 * stroke })),
      ...lines.map((line, i) => ({ colour: colourOf(palette, i), line: vertices(line.x, line.v), floor: lines.length === 1 ? base : undefined, alpha: 0.16, lineWidth: 1.6 * stroke })),
    ];
    const heads = lines.flatMap(({ x, v }, i) => {
      const value = v[v.length - 1];
      if (value === undefined || Number.isNaN(value)) return [];
      return [{ x: plot.left + Math.min(x[x.length - 1] as number, plot.width), y: y(value), colour: colourOf(palette, i) }];
    });
    const rows = ticks(range).map((value) => ({ at: Math.round(y(value)) + 0.5, text: formatTick(value, range.step, options.unit) }));
    const font = fontOf(palette, fontPx);
    const result = { width, height, plot, scale, stroke, fontPx, palette, rows, columns: this.times(plot, grid, fontPx, font), shapes, heads, cursor: cursorMark(cursor, grid, plot) };
    const gutter = Math.ceil(rows.reduce((most, { text }) => Math.max(most, this.measure(text, font)), 0) + 8 * scale);
    if (gutter > left || gutter < left - 12 * scale) {
      this.plot = { ...plot, left: gutter };
      this.grid = undefined;
    }
    return result;
  }

  private times(plot: Plot, grid: Grid, fontPx: number, font: string): Mark[] {
    const from = timeOf(0, grid);
    const to = timeOf(grid.columns, grid);
    const { at, stepMs } = timeTicks(from, to, plot.width / (fontPx * 7), -new Date(to).getTimezoneOffset() * 60_000);
    return at.flatMap((time) => {
      const x = plot.left + (time - from) / grid.msPerColumn;
      const text = formatClock(time, stepMs < 60_000);
      const half = this.measure(text, font) / 2;
      return x - half < plot.left || x + half > plot.left + plot.width ? [] : [{ at: x, text }];
    });
  }
}

export const fontOf = (palette: Palette, fontPx: number, weight = 500): string => `${weight} ${fontPx}px ${palette.font}`;

function cursorMark(cursor: number | undefined, grid: Grid, plot: Plot): Mark | undefined {
  if (cursor === undefined) return undefined;
  const x = cursor / grid.msPerColumn - grid.first;
  return x >= 0 && x <= grid.columns ? { at: Math.round(plot.left + x) + 0.5, text: formatClock(cursor) } : undefined;
}
