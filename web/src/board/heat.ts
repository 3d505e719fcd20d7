//! A heat map: rows by time, coloured by value, with its scale above. One place can be asked for its value, by
//! pointer or by arrow keys; what it says is text. What is seen is decided here and drawn by a worker.

import { classOf, HeatModel, shadeOf, type HeatPlace, type HeatRow } from "../chart/heat";
import type { RemoteCanvas } from "../chart/painter";
import { formatClock, formatText, formatWindow } from "../units/format";
import type { Chart } from "../wire/layout";
import type { ChartView } from "./charts";
import type { Context, Touched } from "./context";
import { attrs, el, setHidden, setText } from "./dom";
import { Followed } from "./followed";
import type { Part } from "./scheduler";

/** From one picture to the next at least; a pointer is answered at once. */
const PACE_MS = 250;
/** The description for screen readers follows this slowly, and names this many rows. */
const DESCRIBE_MS = 10_000;
const DESCRIBED = 3;
/** Rows that have a full line's height; more share the same room. */
const ROWS_FULL = 24;

/** `orders/10` stands after `orders/9`. */
const byName = new Intl.Collator("en", { numeric: true });

export class HeatFigure implements ChartView {
  readonly element = el("figure", "chart chart-heat");
  private readonly canvas = el("canvas", "chart-canvas");
  private readonly scale = el("ul", "heat-scale");
  private readonly tip = el("div", "heat-tip");
  private readonly empty: HTMLElement;
  private readonly box: HTMLElement;
  private readonly model: HeatModel;
  private readonly remote: RemoteCanvas;
  private readonly part: Part;
  private readonly series: Followed;
  private cursor: HeatPlace | undefined;
  private waiting = false;
  private described = Number.NEGATIVE_INFINITY;
  private restyled = true;

  constructor(private readonly chart: Chart, private readonly context: Context) {
    const { words } = context;
    this.model = new HeatModel(chart, context.measure);
    this.series = new Followed(chart, context, (a, b) => byName.compare(a.label, b.label));
    this.remote = context.painter.attach(this.canvas, () => {
      if (!this.waiting) return;
      if (this.cursor === undefined) this.part.mark();
      else this.part.hurry();
    });
    const title = words.local(chart.title);
    this.empty = el("p", "heat-empty", words.say("noData"));
    this.box = el("div", "chart-box", this.canvas, this.tip, this.empty);
    this.element.append(
      el("figcaption", "chart-head", el("h3", "chart-title", title), el("span", "chart-span", words.say("last", { span: formatWindow(chart.windowMs) }))),
      this.scale,
      this.box,
    );
    this.tip.hidden = true;
    attrs(this.tip, { role: "status" });
    attrs(this.scale, { "aria-label": words.say("scale") });
    attrs(this.canvas, { role: "img", tabindex: 0, "aria-label": title });
    this.showScale();
    this.part = context.scheduler.register(`heat map ${chart.id}`, (timestamp) => this.paint(timestamp), { heavy: true, paceMs: () => PACE_MS });
    context.onResize(this.box, (width, height) => {
      this.model.resize(width, height, devicePixelRatio);
      this.part.hurry();
    });
    this.canvas.addEventListener("pointermove", (event) => this.move(this.model.placeAt(event.offsetX, event.offsetY)));
    this.canvas.addEventListener("pointerdown", (event) => this.move(this.model.placeAt(event.offsetX, event.offsetY)));
    this.canvas.addEventListener("pointerleave", () => this.move(undefined));
    this.canvas.addEventListener("blur", () => this.move(undefined));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.readSeries();
  }

  update(touched: Touched): void {
    if (this.series.mayDiffer(touched)) this.readSeries();
    if (this.series.isTouched(touched)) this.part.mark(touched.stamp);
  }

  frame(): void {
    if (this.model.stale(this.context.now())) this.part.mark();
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
    this.series.read();
    const { length } = this.series.entries;
    this.box.style.setProperty("--rows", `${Math.max(3, Math.min(ROWS_FULL, length))}`);
    setHidden(this.empty, length > 0);
    this.part.mark();
  }

  private rows(): HeatRow[] {
    return this.series.entries.map((entry) => ({ label: entry.label, points: this.series.points(entry) }));
  }

  private paint(timestamp: number): void {
    const { theme, now } = this.context;
    const rows = this.rows();
    this.waiting = this.remote.busy;
    if (!this.waiting) {
      const picture = this.model.picture(rows, now(), theme.palette, this.cursor);
      if (picture !== undefined) this.remote.draw(picture);
    }
    this.showTip(rows);
    if (this.restyled) {
      this.restyled = false;
      this.showScale();
    }
    if (timestamp - this.described > DESCRIBE_MS) {
      this.described = timestamp;
      attrs(this.canvas, { "aria-label": this.description(rows) });
    }
  }

  /** A swatch for each class and from where it begins. */
  private showScale(): void {
    const { steps, unit } = this.chart;
    const { heat } = this.context.theme.palette;
    const texts = [`< ${formatText(steps[0] ?? 0, unit)}`, ...steps.map((step) => `≥ ${formatText(step, unit)}`)];
    const entries = texts.map((text, i) => {
      const swatch = el("span", "heat-swatch");
      swatch.style.backgroundColor = heat[shadeOf(i, texts.length, heat.length)] ?? "";
      return el("li", "heat-step", swatch, text);
    });
    this.scale.replaceChildren(...entries);
  }

  private showTip(rows: readonly HeatRow[]): void {
    const { cursor, model } = this;
    const row = cursor && rows[cursor.row];
    const point = cursor && model.pointOf(cursor);
    if (cursor === undefined || row === undefined || point === undefined) {
      setHidden(this.tip, true);
      return;
    }
    const value = model.valueAt(rows, cursor);
    const [from, to] = model.spanOf(cursor.column);
    const text = Number.isNaN(value) ? this.context.words.say("nothing") : formatText(value, this.chart.unit);
    setText(this.tip, `${row.label}  ${formatClock(from)}–${formatClock(to)}  ${text}`);
    attrs(this.tip, { "data-class": Number.isNaN(value) ? undefined : classOf(value, this.chart.steps) });
    setHidden(this.tip, false);
    // Above its place, or below in the upper half; never out of the box.
    const { clientWidth, clientHeight } = this.box;
    const half = this.tip.offsetWidth / 2;
    const x = Math.max(half, Math.min(clientWidth - half, point.x));
    const below = point.y < clientHeight / 2;
    const height = (clientHeight / Math.max(1, rows.length)) * (below ? 1 : 0);
    this.tip.style.transform = `translate(${Math.round(x - half)}px, ${Math.round(point.y + height + (below ? 6 : -6 - this.tip.offsetHeight))}px)`;
  }

  /** The rows that are worst now, in words. */
  private description(rows: readonly HeatRow[]): string {
    const { words } = this.context;
    const title = words.local(this.chart.title);
    if (rows.length === 0) return `${title}. ${words.say("noData")}`;
    const column = this.model.columnOf(this.context.now());
    const values = rows.map(({ label }, row) => ({ label, value: Math.max(...[column - 1, column].map((c) => this.model.valueAt(rows, { row, column: c })).filter((v) => !Number.isNaN(v)), Number.NEGATIVE_INFINITY) }));
    const worst = values.filter(({ value }) => Number.isFinite(value)).sort((a, b) => b.value - a.value).slice(0, DESCRIBED);
    const said = worst.map(({ label, value }) => `${label} ${formatText(value, this.chart.unit)}`).join(", ");
    return words.say("showsHeat", { title, n: rows.length, values: said === "" ? words.say("nothing") : said });
  }

  private move(place: HeatPlace | undefined): void {
    if (place?.row === this.cursor?.row && place?.column === this.cursor?.column) return;
    this.cursor = place;
    this.part.hurry();
  }

  private key(event: KeyboardEvent): void {
    const { newest, columns } = this.model;
    if (newest === undefined || this.series.entries.length === 0) return;
    const oldest = newest - columns + 1;
    const from = this.cursor ?? { row: 0, column: newest + (event.key === "ArrowLeft" ? 1 : 0) };
    const to = (row: number, column: number): void =>
      this.move({ row: Math.max(0, Math.min(this.series.entries.length - 1, row)), column: Math.max(oldest, Math.min(newest, column)) });
    const first = this.cursor === undefined;
    if (event.key === "ArrowLeft") to(from.row, from.column - 1);
    else if (event.key === "ArrowRight") to(from.row, from.column + 1);
    else if (event.key === "ArrowUp") to(from.row - 1, from.column);
    else if (event.key === "ArrowDown") to(first ? from.row : from.row + 1, from.column);
    else if (event.key === "Home") to(from.row, oldest);
    else if (event.key === "End") to(from.row, newest);
    else if (event.key === "Escape") this.move(undefined);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
