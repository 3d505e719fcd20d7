//! One chart on one canvas: takes the points of its series and a time, builds, draws.
//!
//! Invariants: `stale` is true exactly when a paint would change a pixel for the sake of time alone; the
//! canvas has as many pixels as the screen shows.
//! Not here: legends, titles, pointers (`board/charts`).

import { devicePixels, unixMs } from "../units/brand";
import type { Unit } from "../units/format";
import { buildLine, buildStack, extentOf, makeGrid, timeOf, type Grid, type Points } from "./build";
import { clip, colourOf, drawAxes, drawBand, drawCursor, drawHead, drawLine, gutterFor, strokeFor, type Palette, type Plot } from "./draw";
import { niceRange, settleRange, type Range } from "./scale";

export interface ChartOptions {
  readonly unit: Unit;
  readonly windowMs: number;
  readonly stack: boolean;
  readonly min: number | undefined;
  readonly max: number | undefined;
}

export class ChartView {
  private readonly ctx: CanvasRenderingContext2D | null;
  private range: Range | undefined;
  private grid: Grid | undefined;
  private plot: Plot | undefined;
  private width = 0;
  private height = 0;
  private scale = 1;

  constructor(readonly canvas: HTMLCanvasElement, private readonly options: ChartOptions) {
    this.ctx = canvas.getContext("2d");
  }

  /** The canvas is shown at this size, in CSS pixels. */
  resize(width: number, height: number, scale: number): void {
    this.width = Math.round(width * scale);
    this.height = Math.round(height * scale);
    this.scale = scale;
    this.grid = undefined;
  }

  /** Whether at `end` the window has moved by a pixel since the last paint. */
  stale(end: number): boolean {
    return this.grid === undefined || Math.floor(end / this.grid.msPerColumn) !== this.grid.first + this.grid.columns - 1;
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

  paint(series: readonly Points[], end: number, palette: Palette, cursor: number | undefined): void {
    const { ctx, canvas, options, scale } = this;
    if (ctx === null || this.width < 40 || this.height < 30) return;
    if (canvas.width !== this.width || canvas.height !== this.height) {
      canvas.width = this.width;
      canvas.height = this.height;
    }
    const top = Math.ceil(palette.fontSize * scale * 0.7);
    const height = this.height - top - Math.ceil((palette.fontSize + 8) * scale);
    const count = Math.max(2, Math.min(5, Math.floor(height / (palette.fontSize * scale * 2.6))));
    // The gutter needs the range, the range the grid, the grid the gutter: last paint's gutter breaks the circle.
    const left = this.plot?.left ?? Math.ceil(44 * scale);
    const right = Math.ceil(6 * scale);
    const plotWidth = this.width - left - right;
    const grid = makeGrid(unixMs(end), options.windowMs, devicePixels(plotWidth));
    const bands = options.stack ? buildStack(series, grid) : [];
    const lines = options.stack ? [] : series.map((points) => buildLine(points, grid));
    const extent = extentOf(options.stack ? bands.map((band) => band.high) : lines.map((line) => line.v));
    const range = settleRange(this.range, niceRange(options.stack ? Math.min(0, extent.low) : extent.low, extent.high, options, options.unit, count));
    const plot: Plot = { left, top, width: plotWidth, height, scale, stroke: strokeFor(palette, scale) };
    this.range = range;
    this.grid = grid;
    this.plot = plot;

    ctx.clearRect(0, 0, this.width, this.height);
    drawAxes(ctx, plot, range, grid, options.unit, palette);
    clip(ctx, plot);
    bands.forEach((band, i) => drawBand(ctx, band, plot, range, colourOf(palette, i)));
    lines.forEach((line, i) => drawLine(ctx, line, plot, range, colourOf(palette, i), lines.length === 1));
    ctx.restore();
    lines.forEach((line, i) => drawHead(ctx, line, plot, range, colourOf(palette, i), palette));
    if (cursor !== undefined) {
      const x = cursor / grid.msPerColumn - grid.first;
      if (x >= 0 && x <= grid.columns) drawCursor(ctx, plot, x, cursor, palette);
    }
    const gutter = gutterFor(ctx, range, options.unit, palette, scale);
    if (gutter > left || gutter < left - 12 * scale) {
      this.plot = { ...plot, left: gutter };
      this.grid = undefined;
    }
  }
}

/** A line without axes, over all its points: the trend of one value. Painted only when a point was added or its look changed. */
export class Spark {
  private key = "";

  constructor(readonly canvas: HTMLCanvasElement) {}

  paint(points: Points, width: number, height: number, scale: number, colour: string, palette: Palette): void {
    const n = points.t.length;
    const key = `${points.t[n - 1]} ${n} ${width} ${height} ${scale} ${colour} ${palette.fontSize}`;
    if (key === this.key) return;
    this.key = key;
    paintSpark(this.canvas, points, width, height, scale, colour, palette);
  }
}

function paintSpark(canvas: HTMLCanvasElement, points: Points, width: number, height: number, scale: number, colour: string, palette: Palette): void {
  const ctx = canvas.getContext("2d");
  const w = Math.round(width * scale);
  const h = Math.round(height * scale);
  if (ctx === null || w < 8 || h < 8) return;
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
  }
  ctx.clearRect(0, 0, w, h);
  const n = points.t.length;
  if (n < 2) return;
  const stroke = strokeFor(palette, scale);
  const pad = 2 * stroke;
  const span = Math.max(1_000, (points.t[n - 1] as number) - (points.t[0] as number));
  const grid = makeGrid(unixMs(points.t[n - 1] as number), span, devicePixels(w - 2 * pad));
  const line = buildLine(points, grid);
  const { low, high } = extentOf([line.v]);
  if (!(low <= high)) return;
  const middle = (low + high) / 2;
  // A flat value stays a calm line: noise under two percent is not blown up to full height.
  const half = Math.max((high - low) / 2, Math.abs(middle) * 0.02, 1e-9);
  const plot: Plot = { left: pad, top: pad, width: w - 2 * pad, height: h - 2 * pad, scale, stroke };
  const range: Range = { min: middle - half * 1.1, max: middle + half * 1.1, step: half };
  drawLine(ctx, line, plot, range, colour, false);
  const bottom: Range = { ...range };
  ctx.save();
  ctx.globalAlpha = 0.1;
  fillUnder(ctx, line.x, line.v, plot, bottom, colour);
  ctx.restore();
}

function fillUnder(ctx: CanvasRenderingContext2D, x: readonly number[], v: readonly number[], plot: Plot, range: Range, colour: string): void {
  const y = (value: number): number => plot.top + plot.height * (1 - (value - range.min) / (range.max - range.min));
  ctx.fillStyle = colour;
  ctx.beginPath();
  ctx.moveTo(plot.left + (x[0] as number), plot.top + plot.height);
  x.forEach((at, i) => {
    if (!Number.isNaN(v[i] as number)) ctx.lineTo(plot.left + at, y(v[i] as number));
  });
  ctx.lineTo(plot.left + (x[x.length - 1] as number), plot.top + plot.height);
  ctx.fill();
}
