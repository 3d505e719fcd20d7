//! The stats lane: figures that matter, large, with their level and their trend.

import { Spark } from "../chart/view";
import type { Stat, StatsLane } from "../wire/layout";
import { touches, type Context, type LaneView, type Touched } from "./context";
import { attrs, el, setText } from "./dom";
import { LEVEL_NAMES, LevelBadge } from "./levels";
import { balancedColumns } from "./marquee-plan";
import type { Part } from "./scheduler";
import { ValueView } from "./value";

/** Width of a tile that still has room for its trend. */
const LEAST_REM = 10;

class Tile {
  readonly element = el("li", "tile");
  private readonly badge: LevelBadge;
  private readonly value: ValueView;
  private readonly detail = el("span", "tile-detail");
  private readonly spark = el("canvas", "tile-spark");
  private readonly trend = new Spark(this.spark);
  private size: readonly [number, number] = [0, 0];

  constructor(readonly stat: Stat, private readonly context: Context) {
    this.badge = new LevelBadge(context.words, true);
    this.value = new ValueView(stat.unit);
    attrs(this.spark, { "aria-hidden": "true" });
    this.element.append(
      el("div", "tile-top", el("span", "tile-label", context.words.local(stat.label)), this.badge.element),
      el("div", "tile-middle", this.value.element, this.spark),
      this.detail,
    );
    context.onResize(this.spark, (width, height) => (this.size = [width, height]));
  }

  paint(): void {
    const { state, theme } = this.context;
    const cell = state.cells.get(this.stat.cell);
    const level = cell?.level ?? 0;
    this.value.set(cell?.value ?? Number.NaN);
    this.badge.set(level);
    this.badge.element.hidden = level === 0;
    attrs(this.element, { "data-level": LEVEL_NAMES[level] });
    setText(this.detail, cell?.text ?? "");
    const trend = state.points.get(this.stat.cell) ?? state.history.get(this.stat.cell);
    const colour = level > 1 ? theme.levels[level] : theme.palette.series[0];
    if (trend !== undefined) this.trend.paint(trend, this.size[0], this.size[1], devicePixelRatio, colour ?? theme.palette.text, theme.palette);
  }
}

export class StatsView implements LaneView {
  readonly element: HTMLElement;
  private readonly part: Part;
  private readonly cells: readonly number[];

  constructor(lane: StatsLane, context: Context, heading: HTMLElement) {
    const tiles = lane.stats.map((stat) => new Tile(stat, context));
    this.cells = lane.stats.map((stat) => stat.cell);
    const list = attrs(el("ul", "tiles", ...tiles.map((tile) => tile.element)), { "data-count": tiles.length });
    this.element = attrs(el("section", "lane lane-stats", el("div", "lane-head", heading), list), { "aria-labelledby": heading.id });
    this.part = context.scheduler.register(`stats ${lane.id}`, () => tiles.forEach((tile) => tile.paint()));
    context.onResize(list, (width) => {
      const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize) || 16;
      const gap = Number.parseFloat(getComputedStyle(list).columnGap) || rem;
      list.style.setProperty("--columns", `${balancedColumns(width, LEAST_REM * rem, gap, tiles.length)}`);
      this.part.mark();
    });
  }

  update(touched: Touched): void {
    if (touches(touched, this.cells)) this.part.mark();
  }
  restyle(): void {
    this.part.mark();
  }
  remove(): void {
    this.part.remove();
  }
}
