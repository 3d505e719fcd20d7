//! The page's end of the drawing worker: canvases are handed over for good, pictures are sent.
//!
//! Invariant: of each canvas at most one picture is on its way, so a slow worker makes pictures rarer, never a
//! queue longer.

import type { HeatPicture } from "./heat";
import type { Measure, Picture } from "./picture";

/** What can be drawn. */
export type AnyPicture = Picture | HeatPicture;

export type ToPainter =
  | { readonly kind: "attach"; readonly id: number; readonly canvas: OffscreenCanvas }
  | { readonly kind: "draw"; readonly id: number; readonly picture: AnyPicture }
  | { readonly kind: "detach"; readonly id: number };

/** The picture of this canvas is drawn, or could not be. */
export interface FromPainter { readonly id: number; readonly failed: string | undefined }

/** One canvas, drawn elsewhere. */
export interface RemoteCanvas {
  /** A picture is on its way; `onDrawn` will tell. */
  readonly busy: boolean;
  draw(picture: AnyPicture): void;
  remove(): void;
}

export class Painter {
  private readonly drawn = new Map<number, (done: boolean) => void>();
  private last = 0;

  constructor(private readonly worker: Pick<Worker, "postMessage" | "onmessage" | "onerror">, onFailure: (reason: string) => void) {
    worker.onmessage = ({ data }: MessageEvent<FromPainter>) => {
      if (data.failed !== undefined) onFailure(data.failed);
      this.drawn.get(data.id)?.(data.failed === undefined);
    };
    worker.onerror = ({ message }) => onFailure(message === undefined ? "the drawing worker could not be loaded" : message);
  }

  attach(canvas: HTMLCanvasElement, onDrawn: (done: boolean) => void): RemoteCanvas {
    this.last += 1;
    const id = this.last;
    let busy = false;
    const offscreen = canvas.transferControlToOffscreen();
    this.tell({ kind: "attach", id, canvas: offscreen }, [offscreen]);
    this.drawn.set(id, (done) => {
      busy = false;
      onDrawn(done);
    });
    return {
      get busy() {
        return busy;
      },
      draw: (picture) => {
        busy = true;
        this.tell({ kind: "draw", id, picture }, buffersOf(picture));
      },
      remove: () => {
        this.drawn.delete(id);
        this.tell({ kind: "detach", id }, []);
      },
    };
  }

  private tell(message: ToPainter, transfer: Transferable[]): void {
    this.worker.postMessage(message, transfer);
  }
}

function buffersOf(picture: AnyPicture): ArrayBufferLike[] {
  if ("cells" in picture) return [picture.cells.buffer, picture.colours.buffer];
  return picture.shapes.flatMap(({ line, floor }) => [line.buffer, ...(floor instanceof Float32Array ? [floor.buffer] : [])]);
}

/** Measures with the page's fonts. Widths are remembered: an axis names the same few texts again and again. */
export function textMeasure(): Measure {
  const ctx = new OffscreenCanvas(1, 1).getContext("2d");
  const known = new Map<string, number>();
  return (text, font) => {
    const key = `${font} ${text}`;
    let width = known.get(key);
    if (width === undefined) {
      if (ctx === null) return 0;
      ctx.font = font;
      width = ctx.measureText(text).width;
      if (known.size >= 1_000) known.clear();
      // Until its fonts are there the page measures others.
      if (document.fonts.status === "loaded") known.set(key, width);
    }
    return width;
  };
}
