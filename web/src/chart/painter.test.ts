import { expect, it } from "vitest";
import { Painter, type ToPainter } from "./painter";
import type { Picture } from "./picture";

it("hands a canvas over once, and knows when its picture is drawn", () => {
  const sent: ToPainter[] = [];
  const given: Transferable[] = [];
  const worker = {
    onmessage: null as Worker["onmessage"],
    onerror: null as Worker["onerror"],
    postMessage: (message: ToPainter, transfer: Transferable[]) => {
      sent.push(message);
      given.push(...transfer);
    },
  };
  const offscreen = {} as OffscreenCanvas;
  const canvas = { transferControlToOffscreen: () => offscreen } as HTMLCanvasElement;
  const line = new Float32Array(4);
  const floor = new Float32Array(2);
  const picture = { shapes: [{ line, floor }, { line: new Float32Array(2), floor: 7 }] } as unknown as Picture;
  let drawn = 0;
  const failures: string[] = [];
  const painter = new Painter(worker as unknown as Worker, (reason) => failures.push(reason));
  const remote = painter.attach(canvas, () => (drawn += 1));
  const other = painter.attach(canvas, () => (drawn += 100));
  remote.draw(picture);
  expect([remote.busy, other.busy]).toEqual([true, false]);
  worker.onmessage?.call(worker as unknown as Worker, { data: { id: 1 } } as MessageEvent);
  expect([remote.busy, drawn]).toEqual([false, 1]);
  remote.draw(picture);
  worker.onmessage?.call(worker as unknown as Worker, { data: { id: 1, failed: "no memory" } } as MessageEvent);
  expect([remote.busy, drawn, failures]).toEqual([false, 2, ["no memory"]]);
  remote.remove();
  worker.onmessage?.call(worker as unknown as Worker, { data: { id: 1 } } as MessageEvent);
  expect(drawn).toBe(2);
  expect(sent.map(({ kind, id }) => `${kind} ${id}`)).toEqual(["attach 1", "attach 2", "draw 1", "draw 1", "detach 1"]);
  expect(given.slice(2, 5)).toEqual([line.buffer, floor.buffer, picture.shapes[1]?.line.buffer]);
});
