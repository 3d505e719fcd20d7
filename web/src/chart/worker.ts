//! The worker that draws charts: canvases and pictures come in, pixels go to the screen, and the page only hears
//! that a picture is done. Drawing takes the page's thread no time, so a chart cannot make a frame late.

import { drawPicture } from "./draw";
import type { AnyPicture, FromPainter, ToPainter } from "./painter";

interface Easel { readonly canvas: OffscreenCanvas; readonly ctx: OffscreenCanvasRenderingContext2D | null; last: AnyPicture | undefined }

const easels = new Map<number, Easel>();

function draw(easel: Easel): void {
  if (easel.ctx !== null && easel.last !== undefined) drawPicture(easel.canvas, easel.ctx, easel.last);
}

self.onmessage = ({ data }: MessageEvent<ToPainter>) => {
  switch (data.kind) {
    case "attach":
      easels.set(data.id, { canvas: data.canvas, ctx: data.canvas.getContext("2d"), last: undefined });
      return;
    case "draw": {
      const easel = easels.get(data.id);
      if (easel === undefined) return;
      easel.last = data.picture;
      // The page waits for the answer, whatever becomes of the picture.
      let failed: string | undefined;
      try {
        draw(easel);
      } catch (error) {
        failed = String(error);
      }
      self.postMessage({ id: data.id, failed } satisfies FromPainter);
      return;
    }
    case "detach":
      easels.delete(data.id);
      return;
    default:
      data satisfies never;
  }
};

// A worker has its own set of fonts. What was drawn before they came is drawn again.
const fonts = [
  new FontFace("Barlow Semi Condensed", `url("${new URL("../../fonts/barlow-semi-condensed-500.woff2", import.meta.url).href}")`, { weight: "500" }),
  new FontFace("Barlow Semi Condensed", `url("${new URL("../../fonts/barlow-semi-condensed-600.woff2", import.meta.url).href}")`, { weight: "600" }),
];
const own = (self as unknown as { readonly fonts: FontFaceSet }).fonts;
for (const font of fonts) {
  own.add(font);
  font.load().then(
    () => easels.forEach(draw),
    // Without the font charts are lettered in the system's.
    () => undefined,
  );
}
