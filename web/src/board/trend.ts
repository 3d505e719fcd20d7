//! The trend beside a value, for stats and marquee. A line of two minutes says nothing new sixty times a second:
//! it is painted once a second, in its turn.

import { Spark } from "../chart/spark";
import type { Context } from "./context";
import type { Part } from "./scheduler";

const PACE_MS = 1_000;

export class TrendView {
  readonly part: Part;
  private readonly spark: Spark;

  /** `colour` is asked at each paint: it follows the level and the theme. */
  constructor(className: string, private readonly cell: number, private readonly colour: () => string, private readonly context: Context) {
    this.spark = new Spark(className);
    this.part = context.scheduler.register(`trend ${cell}`, (_, oldest) => this.paint(oldest), { heavy: true, paceMs: PACE_MS });
    context.onResize(this.element, (width, height) => {
      this.spark.resize(width, height);
      this.part.hurry();
    });
  }

  get element(): SVGSVGElement {
    return this.spark.element;
  }

  private paint(oldest: number | undefined): void {
    const { state, theme } = this.context;
    const points = state.points.get(this.cell) ?? state.history.get(this.cell);
    if (points !== undefined) this.spark.paint(points, this.colour(), theme.palette);
    this.context.followed("trend", oldest);
  }
}
