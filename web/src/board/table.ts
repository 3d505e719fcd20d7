//! The table lane: rows by name, a figure in each column. Numbers come as numbers and are written here, so that they
//! read as everywhere on the page.

import type { Row } from "../feed/messages";
import { formatText } from "../units/format";
import type { Level } from "../wire/frame";
import type { TableLane } from "../wire/layout";
import { touches, type Context, type LaneView, type Touched } from "./context";
import { attrs, el, setHidden, setText } from "./dom";
import { LEVEL_NAMES, levelWord } from "./levels";
import type { Part } from "./scheduler";

export interface TableRow {
  readonly id: number;
  readonly name: string;
  /** NaN where there is none. */
  readonly values: readonly number[];
  readonly levels: readonly Level[];
}

/** Rows of the wire, in the order they came. */
export function readTable(rows: readonly Row[]): TableRow[] {
  const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
  return rows.map(({ id, text }) => ({
    id,
    name: list(text["key"]).map(String).join(" · "),
    values: list(text["values"]).map((value) => (typeof value === "number" ? value : Number.NaN)),
    levels: list(text["levels"]).map((level) => (level === 1 || level === 2 || level === 3 || level === 4 ? level : 0)),
  }));
}

interface Line { readonly element: HTMLElement; readonly name: HTMLElement; readonly cells: readonly { readonly cell: HTMLElement; readonly value: HTMLElement; readonly word: HTMLElement }[] }

export class TableView implements LaneView {
  readonly element: HTMLElement;
  private readonly body = el("tbody");
  private readonly table: HTMLElement;
  private readonly empty: HTMLElement;
  private readonly part: Part;
  private lines: Line[] = [];

  constructor(private readonly lane: TableLane, private readonly context: Context, heading: HTMLElement) {
    const { words } = context;
    const head = (text: string): HTMLElement => attrs(el("th", "", text), { scope: "col" });
    const heads = [head(words.local(lane.label)), ...lane.columns.map((column) => head(words.local(column.label)))];
    this.table = attrs(el("table", "table", el("thead", "", el("tr", "", ...heads)), this.body), { "aria-labelledby": heading.id });
    this.empty = el("p", "lane-empty", words.say("noData"));
    const box = attrs(el("div", "lane-scroll", this.empty, this.table), { tabindex: 0, role: "group", "aria-labelledby": heading.id });
    this.element = attrs(el("section", "lane lane-table", el("div", "lane-head", heading), box), { "aria-labelledby": heading.id });
    this.part = context.scheduler.register(`table ${lane.id}`, () => this.paint());
  }

  update(touched: Touched): void {
    if (touches(touched, [this.lane.cell])) this.part.mark();
  }

  remove(): void {
    this.part.remove();
  }

  private paint(): void {
    const rows = readTable(this.context.state.alerts.get(this.lane.cell) ?? []);
    while (this.lines.length < rows.length) {
      const line = this.line();
      this.lines.push(line);
      this.body.append(line.element);
    }
    for (const line of this.lines.splice(rows.length)) line.element.remove();
    rows.forEach((row, i) => {
      const line = this.lines[i] as Line;
      setText(line.name, row.name);
      attrs(line.name, { title: row.name });
      this.lane.columns.forEach((column, at) => {
        const { cell, value, word } = line.cells[at] as Line["cells"][number];
        const level = row.levels[at] ?? 0;
        setText(value, formatText(row.values[at] ?? Number.NaN, column.unit));
        attrs(cell, { "data-level": level > 1 ? LEVEL_NAMES[level] : undefined });
        setText(word, level > 1 ? ` ${levelWord(level, this.context.words)}` : "");
      });
    });
    setHidden(this.table, rows.length === 0);
    setHidden(this.empty, rows.length > 0);
  }

  private line(): Line {
    const name = attrs(el("th"), { scope: "row" });
    const cells = this.lane.columns.map(() => {
      const value = el("span");
      const word = el("span", "sr");
      return { cell: el("td", "", value, word), value, word };
    });
    return { element: el("tr", "", name, ...cells.map(({ cell }) => cell)), name, cells };
  }
}
