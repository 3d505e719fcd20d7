//! The trend of one value: a line without axes over all its points. Vector shapes, painted together with the
//! text beside them: a canvas would be a layer of its own for the compositor, and a board has a dozen trends.
//!
//! Invariant: the page is touched only when a point was added or the look changed.

import { devicePixels, unixMs } from "../units/brand";
import { buildLine, extentOf, makeGrid, type Points } from "./build";
import { strokeFor, type Palette } from "./palette";

const SVG = "http://www.w3.org/2000/svg";

export class Spark {
  readonly element = document.createElementNS(SVG, "svg");
  private readonly area = document.createElementNS(SVG, "path");
  private readonly line = document.createElementNS(SVG, "path");
  private width = 0;
  private height = 0;
  private key = "";

  constructor(className: string) {
    this.element.setAttribute("class", className);
    this.element.setAttribute("aria-hidden", "true");
    this.area.setAttribute("class", "spark-area");
    this.line.setAttribute("class", "spark-line");
    this.element.append(this.area, this.line);
  }

  /** It is shown at this size, in CSS pixels. */
  resize(width: number, height: number): void {
    this.width = Math.round(width);
    this.height = Math.round(height);
  }

  paint(points: Points, colour: string, palette: Palette): void {
    const { width, height } = this;
    const n = points.t.length;
    const key = `${points.t[n - 1]} ${n} ${width} ${height} ${colour} ${palette.fontSize}`;
    if (key === this.key) return;
    this.key = key;
    const stroke = strokeFor(palette, 1);
    const shapes = sparkPaths(points, width, height, 2 * stroke);
    this.line.setAttribute("d", shapes.line);
    this.area.setAttribute("d", shapes.area);
    this.line.setAttribute("stroke", colour);
    this.line.setAttribute("stroke-width", `${1.6 * stroke}`);
    this.area.setAttribute("fill", colour);
  }
}

/** Path data of the line and of what is under it, within `width` × `height` less `pad` on each side. */
export function sparkPaths(points: Points, width: number, height: number, pad: number): { readonly line: string; readonly area: string } {
  const n = points.t.length;
  if (n < 2 || width < 8 || height < 8) return { line: "", area: "" };
  const last = points.t[n - 1] as number;
  const span = Math.max(1_000, last - (points.t[0] as number));
  const { x, v } = buildLine(points, makeGrid(unixMs(last), span, devicePixels(Math.round(width - 2 * pad))));
  const { low, high } = extentOf([v]);
  if (!(low <= high)) return { line: "", area: "" };
  const middle = (low + high) / 2;
  // A flat value stays a calm line: noise under two percent is not blown up to full height.
  const half = Math.max((high - low) / 2, Math.abs(middle) * 0.02, 1e-9) * 1.1;
  const base = height - pad;
  const px = (at: number): string => (pad + Math.max(0, at)).toFixed(1);
  const py = (value: number): string => (pad + (height - 2 * pad) * (0.5 - (value - middle) / (2 * half))).toFixed(1);
  let line = "";
  let area = "";
  let run: readonly [from: number, to: number] | undefined;
  for (let i = 0; i <= x.length; i += 1) {
    const value = v[i];
    if (value === undefined || Number.isNaN(value)) {
      if (run !== undefined) area += `V${base}H${px(run[0])}Z`;
      run = undefined;
      continue;
    }
    const at = x[i] as number;
    const point = `${px(at)} ${py(value)}`;
    line += `${run === undefined ? "M" : "L"}${point}`;
    area += `${run === undefined ? "M" : "L"}${point}`;
    run = [run === undefined ? at : run[0], at];
  }
  return { line, area };
}
