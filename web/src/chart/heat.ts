//! A heat map as a picture: rows by time, coloured by class. Pure but for the width of texts, which it is told how to
//! measure.
//!
//! Columns are anchored to absolute time, as the grid of a line chart is: a value stays in its column for as long as it
//! is shown, and the window moves by whole columns. Of several values in one column the largest is shown, since the
//! worst is what is looked for. What has no value is left empty, which no class looks like.
//! Not here: the canvas (`draw`), scale and pointer (`board/heat`).

import { formatClock } from "../units/format";
import { lowerBound, type Points } from "./build";
import { strokeFor, type Palette } from "./palette";
import { fontOf, type Mark, type Measure, type Plot } from "./picture";
import { timeTicks } from "./scale";

export interface HeatOptions {
  readonly windowMs: number;
  readonly stepMs: number;
  /** Where the class changes, ascending: `n` steps make `n + 1` classes. */
  readonly steps: readonly number[];
}

export interface HeatRow { readonly label: string; readonly points: Points }

/** A place in a heat map: the row from the top, and the absolute number of the column. */
export interface HeatPlace { readonly row: number; readonly column: number }

export interface HeatPicture {
  readonly width: number;
  readonly height: number;
  readonly plot: Plot;
  readonly scale: number;
  readonly fontPx: number;
  readonly palette: Palette;
  readonly rows: readonly Mark[];
  readonly columns: readonly Mark[];
  /** Heights of the lines on which rows lie. */
  readonly lines: readonly number[];
  /** x, y, width, height of each cell. */
  readonly cells: Float32Array;
  /** The colour of each cell, an index into the palette's heat. */
  readonly colours: Uint8Array;
  readonly cursor: { readonly x: number; readonly y: number; readonly width: number; readonly height: number } | undefined;
}

/** Names take this share of the width at most. */
const GUTTER_MOST = 0.36;

/** The class of a value: how many steps it has reached. */
export function classOf(value: number, steps: readonly number[]): number {
  let reached = 0;
  while (reached < steps.length && value >= (steps[reached] as number)) reached += 1;
  return reached;
}

/** The colour of a class, spread over a ramp of `shades` whatever the number of classes. */
export const shadeOf = (reached: number, classes: number, shades: number): number => Math.round((reached * (shades - 1)) / Math.max(1, classes - 1));

/** The largest value in `[from, to)`, NaN if there is none. */
export function largestIn({ t, v }: Points, from: number, to: number): number {
  let most = Number.NaN;
  for (let i = lowerBound(t, from); i < t.length && (t[i] as number) < to; i += 1) {
    const value = v[i] as number;
    if (!(value <= most) && !Number.isNaN(value)) most = value;
  }
  return most;
}

export class HeatModel {
  private width = 0;
  private height = 0;
  private scale = 1;
  private plot: Plot | undefined;
  private rows = 0;
  private last: number | undefined;

  constructor(private readonly options: HeatOptions, private readonly measure: Measure) {}

  get columns(): number {
    return Math.max(1, Math.ceil(this.options.windowMs / this.options.stepMs));
  }

  resize(width: number, height: number, scale: number): void {
    this.width = Math.round(width * scale);
    this.height = Math.round(height * scale);
    this.scale = scale;
    this.last = undefined;
  }

  /** The column of a moment. */
  columnOf(time: number): number {
    return Math.floor(time / this.options.stepMs);
  }

  /** When a column begins and ends. */
  spanOf(column: number): readonly [number, number] {
    return [column * this.options.stepMs, (column + 1) * this.options.stepMs];
  }

  valueAt(rows: readonly HeatRow[], { row, column }: HeatPlace): number {
    const points = rows[row]?.points;
    return points === undefined ? Number.NaN : largestIn(points, ...this.spanOf(column));
  }

  /** Whether at `end` the window has moved by a column since the last picture. */
  stale(end: number): boolean {
    return this.last !== this.columnOf(end);
  }

  /** The newest column shown. */
  get newest(): number | undefined {
    return this.last;
  }

  /** What is under a point, in CSS pixels from the canvas' left and top. */
  placeAt(x: number, y: number): HeatPlace | undefined {
    const { plot, last, rows, columns } = this;
    if (plot === undefined || last === undefined || rows === 0) return undefined;
    const across = (x * this.scale - plot.left) / plot.width;
    const down = (y * this.scale - plot.top) / plot.height;
    if (across < 0 || across >= 1 || down < 0 || down >= 1) return undefined;
    return { row: Math.floor(down * rows), column: last - columns + 1 + Math.floor(across * columns) };
  }

  /** Where a place is, in CSS pixels: its middle and its upper edge. */
  pointOf({ row, column }: HeatPlace): { readonly x: number; readonly y: number } | undefined {
    const { plot, last, columns, rows } = this;
    if (plot === undefined || last === undefined || rows === 0) return undefined;
    const x = plot.left + ((column - (last - columns + 1) + 0.5) * plot.width) / columns;
    return { x: x / this.scale, y: (plot.top + (row * plot.height) / rows) / this.scale };
  }

  /** The window that ends with the column of `end`; undefined while there is no room for it. */
  picture(rows: readonly HeatRow[], end: number, palette: Palette, cursor: HeatPlace | undefined): HeatPicture | undefined {
    const { scale, width, height, columns } = this;
    if (width < 60 || height < 30) return undefined;
    const { steps } = this.options;
    const fontPx = palette.fontSize * scale;
    const font = fontOf(palette, fontPx);
    const most = Math.floor(width * GUTTER_MOST);
    const texts = rows.map(({ label }) => this.fit(label, font, most - 8 * scale));
    const widest = texts.reduce((known, text) => Math.max(known, this.measure(text, font)), 0);
    const left = Math.ceil(widest + 8 * scale);
    const plot: Plot = { left, top: Math.ceil(2 * scale), width: width - left - Math.ceil(2 * scale), height: height - Math.ceil(fontPx + 10 * scale) };
    const last = this.columnOf(end);
    const first = last - columns + 1;
    this.plot = plot;
    this.last = last;
    this.rows = rows.length;
    const edge = (at: number, count: number, from: number, size: number): number => Math.round(from + (at * size) / count);
    const x = (column: number): number => edge(column, columns, plot.left, plot.width);
    const y = (row: number): number => edge(row, Math.max(1, rows.length), plot.top, plot.height);
    // Cells that are large enough stand apart.
    const gap = (size: number): number => (size > 5 * scale ? Math.max(1, Math.round(strokeFor(palette, scale))) : 0);
    const cells: number[] = [];
    const colours: number[] = [];
    rows.forEach(({ points }, row) => {
      for (let column = 0; column < columns; column += 1) {
        const value = largestIn(points, ...this.spanOf(first + column));
        if (Number.isNaN(value)) continue;
        const [wide, high] = [x(column + 1) - x(column), y(row + 1) - y(row)];
        cells.push(x(column), y(row), wide - gap(wide), high - gap(high));
        colours.push(shadeOf(classOf(value, steps), steps.length + 1, palette.heat.length));
      }
    });
    const rowHeight = plot.height / Math.max(1, rows.length);
    const every = Math.max(1, Math.ceil((fontPx * 1.1) / rowHeight));
    const middle = (row: number): number => (y(row) + y(row + 1)) / 2;
    const marks = texts.map((text, row) => ({ at: middle(row), text })).filter((_, row) => row % every === 0);
    const inside = cursor !== undefined && cursor.row < rows.length && cursor.column >= first && cursor.column <= last;
    const at = inside ? { x: x(cursor.column - first), y: y(cursor.row) } : undefined;
    return {
      width, height, plot, scale, fontPx, palette,
      rows: marks,
      columns: this.times(plot, first, last, fontPx, font),
      lines: rows.map((_, row) => Math.round(middle(row))),
      cells: Float32Array.from(cells),
      colours: Uint8Array.from(colours),
      cursor: at && inside ? { ...at, width: x(cursor.column - first + 1) - at.x, height: y(cursor.row + 1) - at.y } : undefined,
    };
  }

  private times(plot: Plot, first: number, last: number, fontPx: number, font: string): Mark[] {
    const [from] = this.spanOf(first);
    const [, to] = this.spanOf(last);
    const { at, stepMs } = timeTicks(from, to, plot.width / (fontPx * 7), -new Date(to).getTimezoneOffset() * 60_000);
    return at.flatMap((time) => {
      const x = plot.left + ((time - from) / (to - from)) * plot.width;
      const text = formatClock(time, stepMs < 60_000);
      const half = this.measure(text, font) / 2;
      return x - half < plot.left || x + half > plot.left + plot.width ? [] : [{ at: x, text }];
    });
  }

  /** A name, cut in its middle where there is no room: topics differ in front, partitions behind. */
  private fit(label: string, font: string, most: number): string {
    if (this.measure(label, font) <= most) return label;
    for (let kept = label.length - 1; kept > 2; kept -= 1) {
      const front = Math.ceil(kept / 2);
      const text = `${label.slice(0, front)}…${label.slice(label.length - (kept - front))}`;
      if (this.measure(text, font) <= most) return text;
    }
    return "…";
  }
}
