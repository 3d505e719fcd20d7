//! What every lane needs and none owns.

import type { Painter } from "../chart/painter";
import type { Measure } from "../chart/picture";
import type { BoardState } from "../feed/state";
import type { Announcer } from "./announce";
import type { Words } from "./i18n";
import type { PaintScheduler } from "./scheduler";
import type { Theme } from "./theme";

/** What is painted at a pace of its own and not with the frame after its data. */
export type Paced = "chart" | "trend" | "ticker";

export interface Context {
  readonly state: BoardState;
  readonly words: Words;
  readonly theme: Theme;
  readonly scheduler: PaintScheduler;
  /** Draws charts off this thread; texts are measured on it. */
  readonly painter: Painter;
  readonly measure: Measure;
  readonly announcer: Announcer;
  /** Now on the server's clock, Unix milliseconds; stands still while the connection is cut. */
  readonly now: () => number;
  /** A part with a pace shows the updates since the one whose oldest event is `oldest`: a chart already, the others with this frame. */
  readonly followed: (kind: Paced, oldest: number | undefined) => void;
  readonly reducedMotion: () => boolean;
  /** Calls back when the element's size changes, with CSS pixels. */
  readonly onResize: (element: Element, callback: (width: number, height: number) => void) => void;
}

/** One lane on the page. */
export interface LaneView {
  readonly element: HTMLElement;
  /** Data came: mark what it touches. */
  update(touched: Touched): void;
  /** Time moved: mark what shows it. Called every frame; must be cheap. */
  frame?(timestamp: number): void;
  /** Colours or sizes changed. */
  restyle?(): void;
  remove(): void;
}

/** Which cells, lanes and charts an update changed. */
export interface Touched {
  readonly full: boolean;
  /** Its oldest event, Unix milliseconds; 0 if it has none. */
  readonly stamp: number;
  readonly cells: ReadonlySet<number>;
  readonly lanes: ReadonlySet<number>;
  readonly charts: ReadonlySet<number>;
}

export const touches = (touched: Touched, cells: Iterable<number>): boolean => {
  if (touched.full) return true;
  for (const cell of cells) if (touched.cells.has(cell)) return true;
  return false;
};
