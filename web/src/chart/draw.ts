//! Thin drawing of what `build` made. Knows the canvas, decides nothing about data.

import { formatClock, formatTick, type Unit } from "../units/format";
import type { Band, Grid, Path } from "./build";
import { timeOf } from "./build";
import { ticks, timeTicks, type Range } from "./scale";

/** CSS pixels of type for which a line is one CSS pixel thick. */
const TYPE_PER_STROKE = 12.5;

export const strokeFor = (palette: Palette, scale: number): number => (scale * palette.fontSize) / TYPE_PER_STROKE;

/** Colours and type of the current theme, resolved for the canvas. */
export interface Palette {
  readonly series: readonly string[];
  readonly grid: string;
  readonly text: string;
  readonly cursor: string;
  readonly surface: string;
  readonly font: string;
  /** CSS pixels. */
  readonly fontSize: number;
}

/** The plot's rectangle, in device pixels. */
export interface Plot {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  /** Device pixels per CSS pixel. */
  readonly scale: number;
  /** Device pixels of a hairline that suits the size of the type: a wall's lines are thicker than a desk's. */
  readonly stroke: number;
}

export const colourOf = (palette: Palette, index: number): string => palette.series[index % palette.series.length] ?? palette.text;

const yOf = (value: number, range: Range, plot: Plot): number => plot.top + plot.height * (1 - (value - range.min) / (range.max - range.min));

/** Room for the value labels, in device pixels. */
export function gutterFor(ctx: CanvasRenderingContext2D, range: Range, unit: Unit, palette: Palette, scale: number): number {
  ctx.font = `500 ${palette.fontSize * scale}px ${palette.font}`;
  const widest = ticks(range).reduce((most, value) => Math.max(most, ctx.measureText(formatTick(value, range.step, unit)).width), 0);
  return Math.ceil(widest + 8 * scale);
}

export function drawAxes(ctx: CanvasRenderingContext2D, plot: Plot, range: Range, grid: Grid, unit: Unit, palette: Palette): void {
  const { scale } = plot;
  ctx.font = `500 ${palette.fontSize * scale}px ${palette.font}`;
  ctx.fillStyle = palette.text;
  ctx.strokeStyle = palette.grid;
  ctx.lineWidth = Math.max(1, Math.round(plot.stroke));
  ctx.textAlign = "right";
  ctx.textBaseline = "middle";
  ctx.beginPath();
  for (const value of ticks(range)) {
    const y = Math.round(yOf(value, range, plot)) + 0.5;
    ctx.moveTo(plot.left, y);
    ctx.lineTo(plot.left + plot.width, y);
    ctx.fillText(formatTick(value, range.step, unit), plot.left - 7 * scale, y);
  }
  ctx.stroke();
  const from = timeOf(0, grid);
  const to = timeOf(grid.columns, grid);
  const count = plot.width / (palette.fontSize * scale * 7);
  const { at, stepMs } = timeTicks(from, to, count, -new Date(to).getTimezoneOffset() * 60_000);
  ctx.textBaseline = "top";
  for (const time of at) {
    const x = plot.left + (time - from) / grid.msPerColumn;
    const text = formatClock(time, stepMs < 60_000);
    const half = ctx.measureText(text).width / 2;
    if (x - half < plot.left || x + half > plot.left + plot.width) continue;
    ctx.textAlign = "center";
    ctx.fillText(text, x, plot.top + plot.height + 6 * scale);
  }
}

/** Confines what follows to the plot. Undo with `ctx.restore()`. */
export function clip(ctx: CanvasRenderingContext2D, plot: Plot): void {
  ctx.save();
  ctx.beginPath();
  ctx.rect(plot.left, plot.top - 2 * plot.stroke, plot.width, plot.height + 3 * plot.stroke);
  ctx.clip();
}

export function drawLine(ctx: CanvasRenderingContext2D, path: Path, plot: Plot, range: Range, colour: string, fill: boolean): void {
  const { x, v } = path;
  ctx.lineJoin = "round";
  ctx.lineCap = "round";
  if (fill) {
    ctx.globalAlpha = 0.16;
    ctx.fillStyle = colour;
    const base = yOf(Math.max(range.min, Math.min(range.max, 0)), range, plot);
    for (const [from, to] of runs(v)) {
      ctx.beginPath();
      ctx.moveTo(plot.left + (x[from] as number), base);
      for (let i = from; i < to; i += 1) ctx.lineTo(plot.left + (x[i] as number), yOf(v[i] as number, range, plot));
      ctx.lineTo(plot.left + (x[to - 1] as number), base);
      ctx.fill();
    }
    ctx.globalAlpha = 1;
  }
  ctx.strokeStyle = colour;
  ctx.lineWidth = 1.6 * plot.stroke;
  ctx.beginPath();
  let down = false;
  for (let i = 0; i < x.length; i += 1) {
    const value = v[i] as number;
    if (Number.isNaN(value)) {
      down = false;
      continue;
    }
    const px = plot.left + (x[i] as number);
    const py = yOf(value, range, plot);
    if (down) ctx.lineTo(px, py);
    else ctx.moveTo(px, py);
    down = true;
  }
  ctx.stroke();
}

/** A dot where the line is now. */
export function drawHead(ctx: CanvasRenderingContext2D, path: Path, plot: Plot, range: Range, colour: string, palette: Palette): void {
  const last = path.v.length - 1;
  const value = path.v[last];
  if (value === undefined || Number.isNaN(value)) return;
  const x = plot.left + Math.min(path.x[last] as number, plot.width);
  ctx.beginPath();
  ctx.arc(x, yOf(value, range, plot), 2.6 * plot.stroke, 0, 2 * Math.PI);
  ctx.fillStyle = colour;
  ctx.strokeStyle = palette.surface;
  ctx.lineWidth = 1.5 * plot.stroke;
  ctx.stroke();
  ctx.fill();
}

export function drawBand(ctx: CanvasRenderingContext2D, band: Band, plot: Plot, range: Range, colour: string): void {
  const { x, low, high } = band;
  for (const [from, to] of runs(high)) {
    ctx.beginPath();
    for (let i = from; i < to; i += 1) {
      const px = plot.left + (x[i] as number);
      if (i === from) ctx.moveTo(px, yOf(high[i] as number, range, plot));
      else ctx.lineTo(px, yOf(high[i] as number, range, plot));
    }
    ctx.strokeStyle = colour;
    ctx.lineWidth = 1.2 * plot.stroke;
    ctx.stroke();
    for (let i = to - 1; i >= from; i -= 1) ctx.lineTo(plot.left + (x[i] as number), yOf(low[i] as number, range, plot));
    ctx.closePath();
    ctx.globalAlpha = 0.55;
    ctx.fillStyle = colour;
    ctx.fill();
    ctx.globalAlpha = 1;
  }
}

export function drawCursor(ctx: CanvasRenderingContext2D, plot: Plot, x: number, time: number, palette: Palette): void {
  const { scale } = plot;
  const at = Math.round(plot.left + x) + 0.5;
  ctx.strokeStyle = palette.cursor;
  ctx.lineWidth = Math.max(1, Math.round(scale));
  ctx.beginPath();
  ctx.moveTo(at, plot.top);
  ctx.lineTo(at, plot.top + plot.height);
  ctx.stroke();
  const text = formatClock(time);
  ctx.font = `600 ${palette.fontSize * scale}px ${palette.font}`;
  const width = ctx.measureText(text).width + 8 * scale;
  const left = Math.max(plot.left, Math.min(at - width / 2, plot.left + plot.width - width));
  const top = plot.top + plot.height + 3 * scale;
  ctx.fillStyle = palette.cursor;
  ctx.fillRect(left, top, width, palette.fontSize * scale + 6 * scale);
  ctx.fillStyle = palette.surface;
  ctx.textAlign = "left";
  ctx.textBaseline = "top";
  ctx.fillText(text, left + 4 * scale, top + 3 * scale);
}

/** Ranges `[from, to)` between the NaNs. */
function runs(values: readonly number[]): (readonly [number, number])[] {
  const found: (readonly [number, number])[] = [];
  let from = -1;
  for (let i = 0; i <= values.length; i += 1) {
    const gap = i === values.length || Number.isNaN(values[i] as number);
    if (!gap && from < 0) from = i;
    if (gap && from >= 0) {
      found.push([from, i]);
      from = -1;
    }
  }
  return found;
}
