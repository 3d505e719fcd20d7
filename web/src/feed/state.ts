//! What the page shows: the newest value of every cell, the points of every series, rows, lane heads.
//!
//! Invariants: an update is applied whole or not at all; only a full one, or one on exactly the state before
//! it, is applied. Anything else that reaches `apply` is counted in `inconsistencies`, shown nowhere, and
//! answered by a resync; the worker's machine is built so that this number stays 0.
//! Not here: pixels (`chart`, `board`).

import type { Level } from "../wire/frame";
import type { Board, CellId } from "../wire/layout";
import { SeriesColumns } from "./columns";
import type { LaneHead, Row, Update } from "./messages";

export interface CellState { value: number; level: Level; text: string; textLevel: Level }

/** Values remembered per scalar cell for its small trend line, while this page watches. */
const HISTORY_MS = 120_000;
/** A trend line has a point at most this often. */
const HISTORY_STEP_MS = 250;

export class BoardState {
  readonly cells = new Map<number, CellState>();
  readonly points = new Map<number, SeriesColumns>();
  readonly history = new Map<number, SeriesColumns>();
  readonly lanes = new Map<number, LaneHead>();
  /** Dynamic series by chart. */
  readonly series = new Map<number, readonly (readonly [CellId, string])[]>();
  /** Ticker rows by cell, oldest first. */
  readonly rows = new Map<number, Row[]>();
  readonly alerts = new Map<number, readonly Row[]>();
  seq: number | undefined;
  epoch = "";
  generation = 0;
  sent = 0;
  inconsistencies = 0;
  private windows = new Map<number, number>();
  private rowBounds = new Map<number, number>();
  private dynamicWindows = new Map<number, number>();

  /** A board, or a new version of one. What is shown stays until its keyframe comes. */
  expect(epoch: string, generation: number, board: Board): void {
    this.epoch = epoch;
    this.generation = generation;
    this.seq = undefined;
    this.windows = new Map();
    this.rowBounds = new Map();
    this.dynamicWindows = new Map();
    for (const lane of board.lanes) {
      if (lane.kind === "ticker") this.rowBounds.set(lane.cell, lane.rows);
      if (lane.kind !== "charts") continue;
      for (const chart of lane.charts) {
        this.dynamicWindows.set(chart.id, chart.windowMs);
        for (const { cell } of chart.series) this.windows.set(cell, Math.max(chart.windowMs, this.windows.get(cell) ?? 0));
      }
    }
  }

  /** True if `update` was applied; false if it does not follow and a keyframe is needed. */
  apply(update: Update): boolean {
    if (update.epoch !== this.epoch || update.generation !== this.generation) return this.refuse();
    if (!update.full && (this.seq === undefined || update.baseSeq !== this.seq)) return this.refuse();
    if (update.full) this.reset();
    this.seq = update.seq;
    this.sent = update.sent;
    for (const cell of update.clears) this.clear(cell);
    this.applySeries(update);
    this.applyScalars(update);
    this.applyPoints(update);
    for (const lane of update.lanes) this.lanes.set(lane.lane, lane);
    for (const [cell, rows] of update.alerts) this.alerts.set(cell, rows);
    for (const [cell, rows] of update.rows) this.appendRows(cell, rows);
    return true;
  }

  /** Forgets what is shown; trend lines stay, for they belong to this page and not to the stream. */
  private reset(): void {
    for (const part of [this.cells, this.points, this.lanes, this.series, this.rows, this.alerts]) part.clear();
  }

  private refuse(): boolean {
    this.inconsistencies += 1;
    return false;
  }

  private clear(cell: number): void {
    this.points.delete(cell);
    this.rows.delete(cell);
    if (this.alerts.has(cell)) this.alerts.set(cell, []);
  }

  private cell(id: number): CellState {
    let cell = this.cells.get(id);
    if (cell === undefined) {
      cell = { value: Number.NaN, level: 0, text: "", textLevel: 0 };
      this.cells.set(id, cell);
    }
    return cell;
  }

  private applyScalars(update: Update): void {
    update.cells.forEach((id, i) => {
      const cell = this.cell(id);
      cell.value = update.values[i] as number;
      cell.level = update.levels[i] as Level;
      this.remember(id, update.sent, cell.value);
    });
    for (const [id, text, level] of update.texts) {
      const cell = this.cell(id);
      cell.text = text;
      cell.textLevel = level;
    }
  }

  private remember(id: number, t: number, value: number): void {
    if (!Number.isFinite(value)) return;
    let history = this.history.get(id);
    if (history === undefined) {
      history = new SeriesColumns();
      this.history.set(id, history);
    }
    if (t - history.lastTime < HISTORY_STEP_MS) history.append(history.lastTime, value);
    else history.append(t, value);
    history.trim(t - HISTORY_MS);
  }

  private applySeries(update: Update): void {
    for (const [chart, series] of update.series) {
      const named = new Set<number>(series.map(([cell]) => cell));
      for (const [cell] of this.series.get(chart) ?? []) if (!named.has(cell)) this.points.delete(cell);
      this.series.set(chart, series);
      const window = this.dynamicWindows.get(chart);
      if (window !== undefined) for (const cell of named) this.windows.set(cell, window);
    }
  }

  private applyPoints(update: Update): void {
    const { cells, ends, t, v } = update.points;
    let from = 0;
    cells.forEach((cell, i) => {
      let series = this.points.get(cell);
      if (series === undefined) {
        series = new SeriesColumns();
        this.points.set(cell, series);
      }
      const end = ends[i] as number;
      for (let at = from; at < end; at += 1) series.append(t[at] as number, v[at] as number);
      from = end;
      const window = this.windows.get(cell);
      if (window !== undefined && series.length > 0) series.trim(series.lastTime - window);
    });
  }

  private appendRows(cell: number, rows: readonly Row[]): void {
    const bound = this.rowBounds.get(cell) ?? rows.length;
    const all = [...(this.rows.get(cell) ?? []), ...rows];
    this.rows.set(cell, all.length > bound ? all.slice(all.length - bound) : all);
  }
}
