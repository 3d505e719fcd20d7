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
