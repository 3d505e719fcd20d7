//! The stats lane: figures that matter, large, with their level and their trend.

import type { Stat, StatsLane } from "../wire/layout";
import { touches, type Context, type LaneView, type Touched } from "./context";
import { attrs, el, setHidden, setText } from "./dom";
import { LEVEL_NAMES, LevelBadge } from "./levels";
import { balancedColumns } from "./marquee-plan";
import type { Part } from "./scheduler";
import { TrendView } from "./trend";
import { ValueView } from "./value";

/** Width of a tile that still has room for its trend. */
const LEAST_REM = 10;

class Tile {
  readonly element = el("li", "tile");
  private readonly badge: LevelBadge;
  private readonly value: ValueView;
  private readonly detail = el("div", "island");
  private readonly detailBox = el("div", "tile-detail", this.detail);
  private readonly trend: TrendView;
  private readonly part: Part;

  constructor(readonly stat: Stat, private readonly context: Context) {
    this.badge = new LevelBadge(context.words, true);
    this.value = new ValueView(stat.unit);
    this.trend = new TrendView("tile-spark", stat.cell, () => this.colour(), context);
    this.element.append(
      el("div", "tile-top", el("span", "tile-label", context.words.local(stat.label)), this.badge.element),
      el("div", "tile-middle", el("div", "island", this.value.element, this.trend.element)),
      this.detailBox,
    );
    this.part = context.scheduler.register(`stat ${stat.cell}`, () => this.paint());
  }

  mark(stamp = 0): void {
    this.part.mark(stamp);
    this.trend.part.mark(stamp);
  }

  remove(): void {
    this.part.remove();
    this.trend.part.remove();
  }

  private colour(): string {
    const { state, theme } = this.context;
    const level = state.cells.get(this.stat.cell)?.level ?? 0;
    return (level > 1 ? theme.levels[level] : theme.palette.series[0]) ?? theme.palette.text;
  }

  private paint(): void {
    const cell = this.context.state.cells.get(this.stat.cell);
    const level = cell?.level ?? 0;
    this.value.set(cell?.value ?? Number.NaN);
    this.badge.set(level);
    setHidden(this.badge.element, level === 0);
    attrs(this.element, { "data-level": LEVEL_NAMES[level] });
    setText(this.detail, cell?.text ?? "");
    setHidden(this.detailBox, cell === undefined || cell.text === "");
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
    for (const tile of this.tiles) if (touches(touched, [tile.stat.cell])) tile.mark(touched.stamp);
  }
  restyle(): void {
    for (const tile of this.tiles) tile.mark();
  }
  remove(): void {
    for (const tile of this.tiles) tile.remove();
  }
}
