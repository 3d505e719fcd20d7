//! The charts lane: figures with a title, a live legend and a canvas. A chart is painted when its data changed
//! or when its window has moved by a pixel; the legend is text and readable without the picture. What is seen is
//! decided here, in the page's frame, and drawn by a worker.

import { valueAt } from "../chart/build";
import type { RemoteCanvas } from "../chart/painter";
import { colourOf } from "../chart/palette";
import { ChartModel } from "../chart/picture";
import { formatText, formatWindow } from "../units/format";
import type { Chart, ChartsLane } from "../wire/layout";
import type { Context, LaneView, Touched } from "./context";
import { attrs, el, setText } from "./dom";
import { Followed } from "./followed";
import { HeatFigure } from "./heat";
import type { Part } from "./scheduler";

/** Legend entries shown; the chart itself draws every series. */
const LEGEND_MAX = 12;
/** From one picture to the next at least the time in which the window moves by a pixel, or this if it is less; a pointer is answered at once. */
const PACE_MS = 250;
/** The canvas' description for screen readers follows this slowly. */
const DESCRIBE_MS = 10_000;

/** `width`: of the longest value so far, in figures; a legend that grows and shrinks would move all that follows. */
interface LegendRow { readonly element: HTMLElement; readonly box: HTMLElement; readonly value: HTMLElement; readonly label: string; width: number }

/** One chart of the lane, however it is drawn. */
export interface ChartView {
  readonly element: HTMLElement;
  update(touched: Touched): void;
  frame(): void;
  restyle(): void;
  remove(): void;
}

class ChartFigure implements ChartView {
  readonly element = el("figure", "chart");
  private readonly canvas = el("canvas", "chart-canvas");
  private readonly legend = el("ul", "legend");
  private readonly view: ChartModel;
  private readonly remote: RemoteCanvas;
  private readonly part: Part;
  private rows: LegendRow[] = [];
  private readonly series: Followed;
  private cursor: number | undefined;
  /** Something changed while the last picture was still being drawn. */
  private waiting = false;
  /** The oldest event no picture shows yet, and the oldest of the picture on its way. */
  private oldest: number | undefined;
  private oldestDrawing: number | undefined;
  private described = Number.NEGATIVE_INFINITY;
  private restyled = true;

  constructor(private readonly chart: Chart, private readonly context: Context) {
    const { words } = context;
    this.view = new ChartModel(chart, context.measure);
    this.series = new Followed(chart, context);
    this.remote = context.painter.attach(this.canvas, (done) => {
      if (done) context.followed("chart", this.oldestDrawing);
      this.oldestDrawing = undefined;
      if (!this.waiting) return;
      // A hand is answered at once; all else keeps the pace and the turn, however slow the worker is.
      if (this.cursor === undefined) this.part.mark();
      else this.part.hurry();
    });
    const title = words.local(chart.title);
    const span = words.say("last", { span: formatWindow(chart.windowMs) });
    this.element.append(
      el("figcaption", "chart-head", el("h3", "chart-title", title), el("span", "chart-span", span)),
      this.legend,
      el("div", "chart-box", this.canvas),
    );
    attrs(this.legend, { "aria-label": title });
    attrs(this.canvas, { role: "img", tabindex: 0, "aria-label": title });
    this.part = context.scheduler.register(`chart ${chart.id}`, (timestamp, oldest) => this.paint(timestamp, oldest), { heavy: true, paceMs: () => Math.min(PACE_MS, this.view.msPerPixel) });
    context.onResize(this.canvas.parentElement as Element, (width, height) => {
      this.view.resize(width, height, devicePixelRatio);
      this.part.hurry();
    });
    this.canvas.addEventListener("pointermove", (event) => this.moveCursor(this.view.timeAt(event.offsetX)));
    this.canvas.addEventListener("pointerleave", () => this.moveCursor(undefined));
    this.canvas.addEventListener("blur", () => this.moveCursor(undefined));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.readSeries();
  }

  update(touched: Touched): void {
    if (this.series.mayDiffer(touched)) this.readSeries();
    if (this.series.isTouched(touched)) this.part.mark(touched.stamp);
  }

  frame(): void {
    if (this.view.stale(this.context.now())) this.part.mark();
  }

  restyle(): void {
    this.restyled = true;
    this.part.mark();
  }

  remove(): void {
    this.part.remove();
    this.remote.remove();
  }

  private readSeries(): void {
    if (!this.series.read() && this.rows.length > 0) return;
    const { entries } = this.series;
    this.rows = entries.slice(0, LEGEND_MAX).map(({ label }) => {
      const value = el("span", "island");
      const box = el("span", "legend-value", value);
      const swatch = el("span", "legend-swatch");
      return { element: el("li", "legend-row", swatch, el("span", "legend-label", label), box), box, value, label, width: 0 };
    });
    const more = entries.length - this.rows.length;
    const rest = more > 0 ? [el("li", "legend-row legend-more", this.context.words.say("more", { n: more }))] : [];
    this.restyled = true;
    this.legend.replaceChildren(...this.rows.map((row) => row.element), ...rest);
    this.part.mark();
  }

  private paint(timestamp: number, oldest: number | undefined): void {
    const { theme, words } = this.context;
    this.oldest ??= oldest;
    const series = this.series.entries.map((entry) => this.series.points(entry));
    this.waiting = this.remote.busy;
    if (!this.waiting) {
      const picture = this.view.picture(series, this.context.now(), theme.palette, this.cursor);
      if (picture !== undefined) {
        this.oldestDrawing = this.oldest;
        this.oldest = undefined;
        this.remote.draw(picture);
      }
      // Its gutter did not fit: the next picture knows better.
      if (picture !== undefined && this.view.span === undefined) this.part.hurry();
    }
    const values = this.rows.map((row, i) => {
      const points = series[i] as (typeof series)[number];
      const text = formatText(this.cursor === undefined ? points.last : valueAt(points, this.cursor), this.chart.unit);
      setText(row.value, text);
      if (text.length > row.width) {
        row.width = text.length;
        row.box.style.width = `calc(${text.length}ch + 0.25em)`;
      }
      return `${row.label} ${text}`;
    });
    if (this.restyled) {
      this.restyled = false;
      this.rows.forEach((row, i) => {
        const swatch = row.element.firstElementChild;
        if (swatch instanceof HTMLElement) swatch.style.backgroundColor = colourOf(theme.palette, i);
      });
    }
    if (timestamp - this.described > DESCRIBE_MS) {
      this.described = timestamp;
      attrs(this.canvas, { "aria-label": words.say("showsValues", { title: words.local(this.chart.title), values: values.join(", ") }) });
    }
  }

  private moveCursor(time: number | undefined): void {
    if (time === this.cursor) return;
    this.cursor = time;
    this.part.hurry();
  }

  private key(event: KeyboardEvent): void {
    const { span } = this.view;
    if (span === undefined) return;
    const step = (span[1] - span[0]) / 60;
    const from = this.cursor ?? span[1];
    if (event.key === "ArrowLeft") this.moveCursor(Math.max(span[0], from - step));
    else if (event.key === "ArrowRight") this.moveCursor(from + step >= span[1] ? undefined : from + step);
    else if (event.key === "Escape") this.moveCursor(undefined);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

export class ChartsView implements LaneView {
  readonly element: HTMLElement;
  private readonly figures: readonly ChartView[];

  constructor(lane: ChartsLane, context: Context, heading: HTMLElement) {
    this.figures = lane.charts.map((chart) => (chart.draw === "heatmap" ? new HeatFigure(chart, context) : new ChartFigure(chart, context)));
    const grid = el("div", "chart-grid", ...this.figures.map((figure) => figure.element));
    this.element = attrs(el("section", "lane lane-charts", el("div", "lane-head", heading), grid), {
      "aria-labelledby": heading.id,
      // A heat map has a line of its own.
      "data-count": lane.charts.filter(({ draw }) => draw === "lines").length,
    });
  }

  update(touched: Touched): void {
    for (const figure of this.figures) figure.update(touched);
  }
  frame(): void {
    for (const figure of this.figures) figure.frame();
  }
  restyle(): void {
    for (const figure of this.figures) figure.restyle();
  }
  remove(): void {
    for (const figure of this.figures) figure.remove();
  }
}
