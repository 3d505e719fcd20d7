//! The series that a chart follows: those its board names, then those that come and go.

import { SeriesColumns } from "../feed/columns";
import type { Chart } from "../wire/layout";
import { touches, type Context, type Touched } from "./context";

export interface Entry { readonly cell: number; readonly label: string }

const NOTHING = new SeriesColumns();

export class Followed {
  entries: readonly Entry[] = [];

  /** `order` is that of the series that come and go; without it they stand as they came. */
  constructor(private readonly chart: Chart, private readonly context: Context, private readonly order?: (a: Entry, b: Entry) => number) {}

  /** Reads which there are now; whether they are others than before. */
  read(): boolean {
    const { state, words } = this.context;
    const fixed = this.chart.series.map((series) => ({ cell: series.cell as number, label: words.local(series.label) }));
    const dynamic = (state.series.get(this.chart.id) ?? []).map(([cell, label]) => ({ cell: cell as number, label }));
    if (this.order !== undefined) dynamic.sort(this.order);
    const entries = [...fixed, ...dynamic];
    const same = entries.length === this.entries.length && entries.every((entry, i) => entry.cell === this.entries[i]?.cell && entry.label === this.entries[i]?.label);
    this.entries = entries;
    return !same;
  }

  /** Whether there may be others now. */
  mayDiffer(touched: Touched): boolean {
    return this.chart.dynamic && (touched.full || touched.charts.has(this.chart.id));
  }

  /** Whether one of them has new points. */
  isTouched(touched: Touched): boolean {
    return touches(touched, this.entries.map((entry) => entry.cell));
  }

  points(entry: Entry): SeriesColumns {
    return this.context.state.points.get(entry.cell) ?? NOTHING;
  }
}
