//! What the page has not taken yet: frames merged cell by cell, so that however long the page is busy there
//! is one update to take and not a queue of them.
//!
//! Invariants: merging frames and taking once gives the page the state that taking each would have given;
//! size is bounded (`POINTS_MAX`, `ROWS_MAX`): past it `add` says so and the caller starts over by keyframe.

import { unixMs } from "../units/brand";
import { levelOf, type Frame } from "../wire/frame";
import type { CellId } from "../wire/layout";
import type { LaneHead, PointColumns, Row, Update } from "./messages";

/** Points waiting over all series; half a second of keyframe decoding at worst. */
export const POINTS_MAX = 262_144;
/** Rows waiting in one ticker: more than any lane keeps. */
export const ROWS_MAX = 200;

interface Series { readonly t: number[]; readonly v: number[] }

export class Pending {
  private frames = 0;
  private full = false;
  private baseSeq = 0;
  private seq = 0;
  private stamp = 0;
  private sent = 0;
  private events = 0;
  private pointCount = 0;
  private readonly clears = new Set<number>();
  private readonly values = new Map<number, number>();
  private readonly levels = new Map<number, number>();
  private readonly texts = new Map<number, readonly [string, number]>();
  private readonly points = new Map<number, Series>();
  private readonly lanes = new Map<number, LaneHead>();
  private readonly series = new Map<number, [CellId, string][]>();
  /** Dynamic series by chart as of the last frame, taken or not. */
  private readonly named = new Map<number, ReadonlySet<number>>();
  private readonly rows = new Map<number, Row[]>();
  private readonly alerts = new Map<number, Row[]>();

  constructor(private readonly alertCells: ReadonlySet<number>) {}

  get empty(): boolean {
    return this.frames === 0;
  }

  /** Merges `frame`, which follows what was added before. False if the bound was passed: clear and resync. */
  add(frame: Frame): boolean {
    const { header } = frame;
    if (header.keyframe) {
      this.clear();
      this.named.clear();
    }
    if (this.frames === 0) {
      this.full = header.keyframe;
      this.baseSeq = header.baseSeq;
    }
    this.frames += 1;
    this.seq = header.seq;
    this.sent = header.sent;
    this.events += header.events;
    if (header.stamp > 0) this.stamp = this.stamp === 0 ? header.stamp : Math.min(this.stamp, header.stamp);
    for (const block of frame.blocks) this.merge(block);
    // One keyframe is taken whatever its size: asking again would bring the same.
    return this.frames === 1 || this.pointCount <= POINTS_MAX;
  }

  /** Forgets everything. */
  clear(): void {
    this.frames = 0;
    this.full = false;
    this.stamp = 0;
    this.events = 0;
    this.pointCount = 0;
    for (const part of [this.clears, this.values, this.levels, this.texts, this.points, this.lanes, this.series, this.rows, this.alerts]) part.clear();
  }

  /** The merged update and the buffers to transfer with it; empties this. */
  take(epoch: string, generation: number): { update: Update; transfer: ArrayBuffer[] } {
    const cells = Uint32Array.from(this.values.keys());
    const values = Float64Array.from(this.values.values());
    const levels = Uint8Array.from(this.levels.values());
    const clears = Uint32Array.from(this.clears);
    const points = this.columns();
    const update: Update = {
      epoch, generation, full: this.full, baseSeq: this.baseSeq, seq: this.seq, frames: this.frames,
      stamp: unixMs(this.stamp), events: this.events, sent: unixMs(this.sent), clears, cells, values, levels, points,
      texts: Array.from(this.texts, ([cell, [text, level]]) => [cell as CellId, text, levelOf(level)] as const),
      lanes: [...this.lanes.values()],
      series: [...this.series],
      rows: Array.from(this.rows, ([cell, rows]) => [cell as CellId, rows] as const),
      alerts: Array.from(this.alerts, ([cell, rows]) => [cell as CellId, rows] as const),
    };
    const columns = [cells, values, levels, clears, points.cells, points.ends, points.t, points.v];
    this.clear();
    return { update, transfer: columns.map((column) => column.buffer as ArrayBuffer) };
  }

  private merge(block: Frame["blocks"][number]): void {
    switch (block.kind) {
      case 1:
        block.cells.forEach((cell, i) => {
          this.values.set(cell, block.values[i] as number);
          this.levels.set(cell, levelOf(block.levels[i] as number));
        });
        return;
      case 2:
        block.cells.forEach((cell, i) => this.texts.set(cell, [block.texts[i] as string, block.levels[i] as number]));
        return;
      case 3: {
        let from = 0;
        block.cells.forEach((cell, i) => {
          const end = block.ends[i] as number;
          this.append(cell, block.t, block.v, from, end);
          from = end;
        });
        return;
      }
      case 4:
        block.lanes.forEach((lane, i) =>
          this.lanes.set(lane, { lane, item: block.items[i] as number, since: block.since[i] as number, until: block.until[i] as number }),
        );
        return;
      case 5:
        this.addSeries(block);
        return;
      case 6:
        this.addRows(block);
        return;
      case 7:
        for (const cell of block.cells) this.drop(cell);
        return;
      default: {
        const never: never = block;
        return never;
      }
    }
  }

  /** A chart's complete set: cells it no longer names go, here and (by a clear) in what the page has. */
  private addSeries(block: Extract<Frame["blocks"][number], { kind: 5 }>): void {
    const sets = new Map<number, [CellId, string][]>();
    block.charts.forEach((chart, i) => {
      const set = sets.get(chart) ?? [];
      sets.set(chart, set);
      // Cell 0 says that the chart has no series.
      const cell = block.cells[i] as CellId;
      if (cell !== 0) set.push([cell, block.labels[i] as string]);
    });
    for (const [chart, set] of sets) {
      const named = new Set<number>(set.map(([cell]) => cell));
      for (const cell of this.named.get(chart) ?? []) if (!named.has(cell)) this.drop(cell);
      this.named.set(chart, named);
      this.series.set(chart, set);
    }
  }

  private append(cell: number, t: Float64Array, v: Float64Array, from: number, end: number): void {
    let series = this.points.get(cell);
    if (series === undefined) {
      series = { t: [], v: [] };
      this.points.set(cell, series);
    }
    for (let i = from; i < end; i += 1) {
      const last = series.t.length - 1;
      if (last >= 0 && series.t[last] === t[i]) {
        series.v[last] = v[i] as number;
      } else {
        series.t.push(t[i] as number);
        series.v.push(v[i] as number);
        this.pointCount += 1;
      }
    }
  }

  private addRows(block: Extract<Frame["blocks"][number], { kind: 6 }>): void {
    const started = new Set<number>();
    block.cells.forEach((cell, i) => {
      const row: Row = {
        id: block.ids[i] as number,
        t: block.t[i] as number,
        level: levelOf(block.levels[i] as number),
        text: parseRow(block.texts[i] as string),
      };
      const into = this.alertCells.has(cell) ? this.alerts : this.rows;
      let rows = into.get(cell);
      if (rows === undefined || (into === this.alerts && !started.has(cell))) {
        rows = [];
        into.set(cell, rows);
      }
      started.add(cell);
      rows.push(row);
      if (rows.length > ROWS_MAX && into === this.rows) rows.shift();
    });
  }

  private drop(cell: number): void {
    this.clears.add(cell);
    const points = this.points.get(cell);
    if (points !== undefined) this.pointCount -= points.t.length;
    this.points.delete(cell);
    this.rows.delete(cell);
    this.alerts.delete(cell);
  }

  private columns(): PointColumns {
    const t = new Float64Array(this.pointCount);
    const v = new Float64Array(this.pointCount);
    const ends = new Uint32Array(this.points.size);
    let at = 0;
    let index = 0;
    for (const series of this.points.values()) {
      t.set(series.t, at);
      v.set(series.v, at);
      at += series.t.length;
      ends[index] = at;
      index += 1;
    }
    return { cells: Uint32Array.from(this.points.keys()), ends, t, v };
  }
}

/** A row's JSON; a row that is not an object is shown empty rather than costing the whole frame. */
function parseRow(text: string): Record<string, unknown> {
  try {
    const json: unknown = JSON.parse(text);
    return typeof json === "object" && json !== null ? (json as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
