//! The stats lane: figures that matter, large, with their level and their trend.

import { Spark } from "../chart/spark";
import type { Stat, StatsLane } from "../wire/layout";
import { touches, type Context, type LaneView, type Touched } from "./context";
import { attrs, el, setHidden, setText } from "./dom";
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
  private readonly trend = new Spark("tile-spark");
  readonly part: Part;

  constructor(readonly stat: Stat, private readonly context: Context) {
    this.badge = new LevelBadge(context.words, true);
    this.value = new ValueView(stat.unit);
    this.element.append(
      el("div", "tile-top", el("span", "tile-label", context.words.local(stat.label)), this.badge.element),
      el("div", "tile-middle", this.value.element, this.trend.element),
      this.detail,
    );
    this.part = context.scheduler.register(`stat ${stat.cell}`, () => this.paint());
    context.onResize(this.trend.element, (width, height) => {
      this.trend.resize(width, height);
      this.part.mark();
    });
  }

  private paint(): void {
    const { state, theme } = this.context;
    const cell = state.cells.get(this.stat.cell);
    const level = cell?.level ?? 0;
    this.value.set(cell?.value ?? Number.NaN);
    this.badge.set(level);
    setHidden(this.badge.element, level === 0);
    attrs(this.element, { "data-level": LEVEL_NAMES[level] });
    setText(this.detail, cell?.text ?? "");
    const trend = state.points.get(this.stat.cell) ?? state.history.get(this.stat.cell);
    const colour = level > 1 ? theme.levels[level] : theme.palette.series[0];
    if (trend !== undefined) this.trend.paint(trend, colour ?? theme.palette.text, theme.palette);
  }
}

export class StatsView implements LaneView {
  readonly element: HTMLElement;
  private readonly tiles: readonly Tile[];

  constructor(lane: StatsLane, context: Context, heading: HTMLElement) {
    this.tiles = lane.stats.map((stat) => new Tile(stat, context));
    const list = attrs(el("ul", "tiles", ...this.tiles.map((tile) => tile.element)), { "data-count": this.tiles.length });
    this.element = attrs(el("section", "lane lane-stats", el("div", "lane-head", heading), list), { "aria-labelledby": heading.id });
    context.onResize(list, (width) => {
      const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize) || 16;
      const gap = Number.parseFloat(getComputedStyle(list).columnGap) || rem;
      list.style.setProperty("--columns", `${balancedColumns(width, LEAST_REM * rem, gap, this.tiles.length)}`);
    });
  }

  update(touched: Touched): void {
    for (const tile of this.tiles) if (touches(touched, [tile.stat.cell])) tile.part.mark();
  }
  restyle(): void {
    for (const tile of this.tiles) tile.part.mark();
  }
  remove(): void {
    for (const tile of this.tiles) tile.part.remove();
  }
}
