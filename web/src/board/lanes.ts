//! A resolved board as lanes on the page. Bands (marquee, stats, tables) lie across; charts and what is read beside
//! them (alerts, events) share the rest.

import type { Board, Lane } from "../wire/layout";
import { AlertsView } from "./alerts";
import { ChartsView } from "./charts";
import type { Context, LaneView, Touched } from "./context";
import { attrs, el } from "./dom";
import type { Key } from "./i18n";
import { MarqueeView } from "./marquee";
import { StatsView } from "./stats";
import { TableView } from "./table";
import { TickerView } from "./ticker";

export class BoardView {
  readonly element = el("div", "board");
  readonly lanes: readonly LaneView[];

  constructor(board: Board, context: Context, before: BoardView | undefined) {
    const orders = new Map(before?.marquees.map((marquee) => [marquee.id, marquee.view.items]) ?? []);
    const built = board.lanes.map((lane) => ({ lane, view: build(lane, context, orders.get(lane.id) ?? []) }));
    this.lanes = built.map(({ view }) => view);
    this.marquees = built.flatMap(({ lane, view }) => (view instanceof MarqueeView ? [{ id: lane.id, view }] : []));
    const of = (...kinds: Lane["kind"][]): HTMLElement[] => built.filter(({ lane }) => kinds.includes(lane.kind)).map(({ view }) => view.element);
    const charts = of("charts");
    const side = of("alerts", "ticker");
    const body = el("div", "body", ...charts, side.length > 0 ? el("div", "side", ...side) : undefined);
    attrs(body, { "data-split": charts.length > 0 && side.length > 0 ? "" : undefined });
    this.element.append(...of("marquee", "stats", "table"), body);
    body.hidden = charts.length + side.length === 0;
  }

  readonly marquees: readonly { readonly id: number; readonly view: MarqueeView }[];

  update(touched: Touched): void {
    for (const lane of this.lanes) lane.update(touched);
  }
  frame(timestamp: number): void {
    for (const lane of this.lanes) lane.frame?.(timestamp);
  }
  restyle(): void {
    for (const lane of this.lanes) lane.restyle?.();
  }
  remove(): void {
    for (const lane of this.lanes) lane.remove();
    this.element.remove();
  }
}

const NAMES: Readonly<Record<Lane["kind"], Key>> = { marquee: "laneMarquee", charts: "laneCharts", stats: "laneStats", table: "laneTable", alerts: "laneAlerts", ticker: "laneTicker" };

function build(lane: Lane, context: Context, order: readonly number[]): LaneView {
  const title = context.words.local(lane.title);
  // A lane without a title still has a heading, for those who go through the page by headings.
  const quiet = title === "" && (lane.kind === "charts" || lane.kind === "stats");
  const heading = attrs(el("h2", quiet ? "sr" : "lane-title", title === "" ? context.words.say(NAMES[lane.kind]) : title), { id: `lane-${lane.id}` });
  switch (lane.kind) {
    case "marquee":
      return new MarqueeView(lane, context, heading, order);
    case "charts":
      return new ChartsView(lane, context, heading);
    case "stats":
      return new StatsView(lane, context, heading);
    case "alerts":
      return new AlertsView(lane, context, heading);
    case "ticker":
      return new TickerView(lane, context, heading);
    case "table":
      return new TableView(lane, context, heading);
    default: {
      const never: never = lane;
      return never;
    }
  }
}
