//! Thin drawing of a `Picture`. Knows the canvas, decides nothing.

import type { HeatPicture } from "./heat";
import type { AnyPicture } from "./painter";
import { fontOf, type Picture, type Shape } from "./picture";

export function drawPicture(canvas: OffscreenCanvas, ctx: OffscreenCanvasRenderingContext2D, picture: AnyPicture): void {
  const { width, height } = picture;
  // A canvas that is given a size is cleared and laid out anew.
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  ctx.clearRect(0, 0, width, height);
  if ("cells" in picture) drawHeat(ctx, picture);
  else drawChart(ctx, picture);
}

function drawChart(ctx: OffscreenCanvasRenderingContext2D, picture: Picture): void {
  const { plot, stroke } = picture;
  drawAxes(ctx, picture);
  ctx.save();
  ctx.beginPath();
  ctx.rect(plot.left, plot.top - 2 * stroke, plot.width, plot.height + 3 * stroke);
  ctx.clip();
  for (const shape of picture.shapes) drawShape(ctx, shape);
  ctx.restore();
  for (const { x, y, colour } of picture.heads) {
    ctx.beginPath();
    ctx.arc(x, y, 2.6 * stroke, 0, 2 * Math.PI);
    ctx.fillStyle = colour;
    ctx.strokeStyle = picture.palette.surface;
    ctx.lineWidth = 1.5 * stroke;
    ctx.stroke();
    ctx.fill();
  }
  drawCursor(ctx, picture);
}

function drawAxes(ctx: OffscreenCanvasRenderingContext2D, { plot, palette, rows, columns, scale, stroke, fontPx }: Picture): void {
  ctx.font = fontOf(palette, fontPx);
  ctx.fillStyle = palette.text;
  ctx.strokeStyle = palette.grid;
  ctx.lineWidth = Math.max(1, Math.round(stroke));
  ctx.textAlign = "right";
  ctx.textBaseline = "middle";
  ctx.beginPath();
  for (const { at, text } of rows) {
    ctx.moveTo(plot.left, at);
    ctx.lineTo(plot.left + plot.width, at);
    ctx.fillText(text, plot.left - 7 * scale, at);
  }
  ctx.stroke();
  ctx.textAlign = "center";
  ctx.textBaseline = "top";
  for (const { at, text } of columns) ctx.fillText(text, at, plot.top + plot.height + 6 * scale);
}

/** Each run between two gaps: its area, then its line. */
function drawShape(ctx: OffscreenCanvasRenderingContext2D, { colour, line, floor, alpha, lineWidth }: Shape): void {
  ctx.lineJoin = "round";
  ctx.lineCap = "round";
  ctx.lineWidth = lineWidth;
  ctx.strokeStyle = colour;
  ctx.fillStyle = colour;
  const n = line.length / 2;
  const x = (i: number): number => line[2 * i] as number;
  const y = (i: number): number => line[2 * i + 1] as number;
  for (let from = 0; from < n; from += 1) {
    if (Number.isNaN(y(from))) continue;
    let to = from;
    while (to < n && !Number.isNaN(y(to))) to += 1;
    const along = (): void => {
      ctx.beginPath();
      ctx.moveTo(x(from), y(from));
      // A run of one point is a dot: a line of no length with round caps.
      for (let i = Math.min(from + 1, to - 1); i < to; i += 1) ctx.lineTo(x(i), y(i));
    };
    if (floor !== undefined) {
      along();
      for (let i = to - 1; i >= from; i -= 1) ctx.lineTo(x(i), typeof floor === "number" ? floor : (floor[i] as number));
      ctx.globalAlpha = alpha;
      ctx.fill();
      ctx.globalAlpha = 1;
    }
    along();
    ctx.stroke();
    from = to;
  }
}

function drawCursor(ctx: OffscreenCanvasRenderingContext2D, { cursor, plot, palette, scale, fontPx }: Picture): void {
  if (cursor === undefined) return;
  const { at, text } = cursor;
  ctx.strokeStyle = palette.cursor;
  ctx.lineWidth = Math.max(1, Math.round(scale));
  ctx.beginPath();
  ctx.moveTo(at, plot.top);
  ctx.lineTo(at, plot.top + plot.height);
  ctx.stroke();
  ctx.font = fontOf(palette, fontPx, 600);
  const width = ctx.measureText(text).width + 8 * scale;
  const left = Math.max(plot.left, Math.min(at - width / 2, plot.left + plot.width - width));
  const top = plot.top + plot.height + 3 * scale;
  ctx.fillStyle = palette.cursor;
  ctx.fillRect(left, top, width, fontPx + 6 * scale);
  ctx.fillStyle = palette.surface;
  ctx.textAlign = "left";
  ctx.textBaseline = "top";
  ctx.fillText(text, left + 4 * scale, top + 3 * scale);
}

/** Where nothing is known the line on which the row lies is seen. */
function drawHeat(ctx: OffscreenCanvasRenderingContext2D, { plot, palette, rows, columns, lines, cells, colours, cursor, scale, fontPx }: HeatPicture): void {
  ctx.font = fontOf(palette, fontPx);
  ctx.fillStyle = palette.text;
  ctx.textAlign = "right";
  ctx.textBaseline = "middle";
  for (const { at, text } of rows) ctx.fillText(text, plot.left - 6 * scale, at);
  ctx.textAlign = "center";
  ctx.textBaseline = "top";
  for (const { at, text } of columns) ctx.fillText(text, at, plot.top + plot.height + 6 * scale);
  ctx.fillStyle = palette.grid;
  const hairline = Math.max(1, Math.round(scale));
  for (const line of lines) ctx.fillRect(plot.left, line, plot.width, hairline);
  let shown = -1;
  for (let i = 0; i < colours.length; i += 1) {
    const colour = colours[i] as number;
    if (colour !== shown) ctx.fillStyle = palette.heat[colour] ?? palette.text;
    shown = colour;
    ctx.fillRect(cells[4 * i] as number, cells[4 * i + 1] as number, cells[4 * i + 2] as number, cells[4 * i + 3] as number);
  }
  if (cursor === undefined) return;
  const thick = Math.max(2, Math.round(2 * scale));
  // Two frames, one inside the other: one of them is seen on any shade.
  ctx.lineWidth = thick;
  ctx.strokeStyle = palette.cursor;
  ctx.strokeRect(cursor.x - thick / 2, cursor.y - thick / 2, cursor.width + thick, cursor.height + thick);
  ctx.strokeStyle = palette.surface;
  ctx.lineWidth = thick / 2;
  ctx.strokeRect(cursor.x + thick / 4, cursor.y + thick / 4, cursor.width - thick / 2, cursor.height - thick / 2);
}
