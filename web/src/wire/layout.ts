//! The resolved board as the server sends it, and the control messages: JSON checked once, here, so that
//! the rest of the page holds typed values. Unknown members are ignored, unknown lane kinds are skipped.
//! Not here: what the lanes look like (`board`).

import type { Unit } from "../units/format";
import { WireError } from "./error";

export type CellId = number & { readonly id: "cell" };

/** Text of a board file: both languages, or one string for both. */
export interface LocalText { readonly en: string; readonly zh: string }

export interface MarqueeItem {
  readonly id: number;
  readonly cell: CellId;
  readonly label: LocalText;
  readonly unit: Unit;
  readonly priority: number;
  readonly intervalMs: number;
}
export interface MarqueeLane { readonly kind: "marquee"; readonly id: number; readonly title: LocalText; readonly items: readonly MarqueeItem[]; readonly visible: number }

export interface ChartSeries { readonly cell: CellId; readonly label: LocalText }
export interface Chart {
  readonly id: number;
  readonly title: LocalText;
  readonly unit: Unit;
  readonly windowMs: number;
  readonly stack: boolean;
  readonly min: number | undefined;
  readonly max: number | undefined;
  readonly series: readonly ChartSeries[];
  readonly dynamic: boolean;
  readonly draw: "lines" | "heatmap";
  /** Of a heat map: where its colour changes, ascending, and how wide a column is. */
  readonly steps: readonly number[];
  readonly stepMs: number;
}
export interface ChartsLane { readonly kind: "charts"; readonly id: number; readonly title: LocalText; readonly charts: readonly Chart[] }
export interface AlertsLane { readonly kind: "alerts"; readonly id: number; readonly title: LocalText; readonly cell: CellId }
export interface TickerLane { readonly kind: "ticker"; readonly id: number; readonly title: LocalText; readonly cell: CellId; readonly rows: number }
export interface Stat { readonly id: number; readonly cell: CellId; readonly label: LocalText; readonly unit: Unit }
export interface StatsLane { readonly kind: "stats"; readonly id: number; readonly title: LocalText; readonly stats: readonly Stat[] }
export interface TableColumn { readonly label: LocalText; readonly unit: Unit }
export interface TableLane { readonly kind: "table"; readonly id: number; readonly title: LocalText; readonly cell: CellId; readonly label: LocalText; readonly columns: readonly TableColumn[] }
export type Lane = TableLane | MarqueeLane | ChartsLane | AlertsLane | TickerLane | StatsLane;

export type ThemeName = "auto" | "light" | "dark";

export interface Board {
  readonly name: string;
  readonly title: LocalText;
  readonly beatHz: number;
  readonly theme: ThemeName;
  readonly lanes: readonly Lane[];
}

export type Control =
  | { readonly type: "hello"; readonly protocol: number; readonly server: string; readonly epoch: string; readonly unixNs: bigint }
  | { readonly type: "layout"; readonly generation: number; readonly board: Board }
  | { readonly type: "pong"; readonly t: number; readonly unixNs: bigint }
  | { readonly type: "error"; readonly message: string }
  | { readonly type: "gone" }
  | { readonly type: "unknown" };

/** Most rows a ticker keeps, whatever the board file says. */
export const TICKER_ROWS_MAX = 200;

/** Reads one control message. Throws [`WireError`] `control` if it is not what its type says. */
export function parseControl(text: string): Control {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new WireError("control", "not JSON");
  }
  const message = object(json, "message");
  switch (message["type"]) {
    case "hello":
      return {
        type: "hello",
        protocol: number(message["protocol"], "protocol"),
        server: string(message["server"], "server"),
        epoch: string(message["epoch"], "epoch"),
        unixNs: nanos(message["unix_ns"]),
      };
    case "layout":
      return { type: "layout", generation: number(message["generation"], "generation"), board: parseBoard(message["board"]) };
    case "pong":
      return { type: "pong", t: number(message["t"], "t"), unixNs: nanos(message["unix_ns"]) };
    case "error":
      return { type: "error", message: typeof message["message"] === "string" ? message["message"] : "" };
    case "gone":
      return { type: "gone" };
    default:
      return { type: "unknown" };
  }
}

/** Reads the resolved board. */
export function parseBoard(json: unknown): Board {
  const board = object(json, "board");
  const theme = board["theme"];
  return {
    name: string(board["name"], "board.name"),
    title: localText(board["title"]),
    beatHz: optional(board["beat_hz"]) ?? 20,
    theme: theme === "light" || theme === "dark" ? theme : "auto",
    lanes: list(board["lanes"], "board.lanes").flatMap(parseLane),
  };
}

function parseLane(json: unknown): Lane[] {
  const lane = object(json, "lane");
  const id = number(lane["id"], "lane.id");
  const title = localText(lane["title"]);
  switch (lane["kind"]) {
    case "marquee":
      return [{ kind: "marquee", id, title, items: list(lane["items"], "items").map(parseItem), visible: optional(lane["visible"]) ?? 4 }];
    case "charts":
      return [{ kind: "charts", id, title, charts: list(lane["charts"], "charts").map(parseChart) }];
    case "alerts":
      return [{ kind: "alerts", id, title, cell: cell(lane["cell"]) }];
    case "ticker": {
      const rows = Math.min(TICKER_ROWS_MAX, Math.max(1, optional(lane["rows"]) ?? 50));
      return [{ kind: "ticker", id, title, cell: cell(lane["cell"]), rows }];
    }
    case "stats":
      return [{ kind: "stats", id, title, stats: list(lane["stats"], "stats").map(parseStat) }];
    case "table":
      return [{ kind: "table", id, title, cell: cell(lane["cell"]), label: localText(lane["label"]), columns: list(lane["columns"], "columns").map(parseColumn) }];
    default:
      return [];
  }
}

function parseItem(json: unknown): MarqueeItem {
  const item = object(json, "item");
  return {
    id: number(item["id"], "item.id"),
    cell: cell(item["cell"]),
    label: localText(item["label"]),
    unit: unit(item["unit"]),
    priority: optional(item["priority"]) ?? 0,
    intervalMs: optional(item["interval_ms"]) ?? 4_000,
  };
}

function parseChart(json: unknown): Chart {
  const chart = object(json, "chart");
  return {
    id: number(chart["id"], "chart.id"),
    title: localText(chart["title"]),
    unit: unit(chart["unit"]),
    windowMs: Math.max(1_000, optional(chart["window_ms"]) ?? 300_000),
    stack: chart["stack"] === true,
    min: optional(chart["min"]),
    max: optional(chart["max"]),
    series: (Array.isArray(chart["series"]) ? chart["series"] : []).map((entry: unknown) => {
      const series = object(entry, "series");
      return { cell: cell(series["cell"]), label: localText(series["label"]) };
    }),
    dynamic: chart["dynamic"] === true,
    draw: chart["draw"] === "heatmap" ? "heatmap" : "lines",
    steps: (Array.isArray(chart["steps"]) ? chart["steps"] : []).flatMap((step: unknown) => optional(step) ?? []),
    stepMs: Math.max(50, optional(chart["step_ms"]) ?? 10_000),
  };
}

function parseColumn(json: unknown): TableColumn {
  const column = object(json, "column");
  return { label: localText(column["label"]), unit: unit(column["unit"]) };
}

function parseStat(json: unknown): Stat {
  const stat = object(json, "stat");
  const id = cell(stat["cell"]);
  return { id: optional(stat["id"]) ?? id, cell: id, label: localText(stat["label"]), unit: unit(stat["unit"]) };
}

/** Text in both languages; either stands in for the other, nothing for neither. */
export function localText(json: unknown): LocalText {
  if (typeof json === "string") return { en: json, zh: json };
  if (typeof json !== "object" || json === null) return { en: "", zh: "" };
  const { en, zh } = json as { en?: unknown; zh?: unknown };
  const english = typeof en === "string" ? en : undefined;
  const chinese = typeof zh === "string" ? zh : undefined;
  return { en: english ?? chinese ?? "", zh: chinese ?? english ?? "" };
}

const UNITS: ReadonlySet<string> = new Set(["percent", "bytes", "bytes_per_second", "seconds", "short", "per_second", "currency"]);

function unit(json: unknown): Unit {
  if (typeof json === "string" && (UNITS.has(json) || json.startsWith("currency:"))) return json as Unit;
  return "short";
}

function object(json: unknown, what: string): Record<string, unknown> {
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw new WireError("control", `${what} is not an object`);
  return json as Record<string, unknown>;
}

function list(json: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(json)) throw new WireError("control", `${what} is not a list`);
  return json;
}

function number(json: unknown, what: string): number {
  if (typeof json !== "number" || !Number.isFinite(json)) throw new WireError("control", `${what} is not a number`);
  return json;
}

function optional(json: unknown): number | undefined {
  return typeof json === "number" && Number.isFinite(json) ? json : undefined;
}

function string(json: unknown, what: string): string {
  if (typeof json !== "string") throw new WireError("control", `${what} is not a text`);
  return json;
}

function cell(json: unknown): CellId {
  return number(json, "cell") as CellId;
}

function nanos(json: unknown): bigint {
  if (typeof json !== "string" || !/^\d{1,20}$/.test(json)) throw new WireError("control", "unix_ns is not a count");
  return BigInt(json);
}
