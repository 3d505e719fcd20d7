//! The worker: a WebSocket, a timer and the state machine between them. Frames are checked and decoded here,
//! off the thread that paints. No decisions live in this file.

import { monoNow } from "../units/brand";
import { FeedMachine, type Action } from "./machine";
import type { ToWorker } from "./messages";

const TICK_MS = 50;

const machine = new FeedMachine(Math.random);
let socket: WebSocket | undefined;

function disconnect(): void {
  const old = socket;
  socket = undefined;
  if (old !== undefined) {
    old.onopen = old.onmessage = old.onclose = null;
    old.close();
  }
}

function connect(board: string): void {
  disconnect();
  const scheme = self.location.protocol === "https:" ? "wss" : "ws";
  const opened = new WebSocket(`${scheme}://${self.location.host}/boards/${encodeURIComponent(board)}/stream`);
  opened.binaryType = "arraybuffer";
  opened.onopen = () => run(machine.connected(monoNow()));
  opened.onclose = () => {
    socket = undefined;
    run(machine.closed(monoNow()));
  };
  opened.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) =>
    run(typeof data === "string" ? machine.text(data, monoNow()) : machine.binary(data, monoNow()));
  socket = opened;
}

function run(actions: readonly Action[]): void {
  for (const action of actions) {
    switch (action.do) {
      case "connect":
        connect(action.board);
        break;
      case "disconnect":
        disconnect();
        break;
      case "send":
        if (socket?.readyState === WebSocket.OPEN) socket.send(action.text);
        break;
      case "post":
        self.postMessage(action.message, { transfer: [...action.transfer] });
        break;
      default:
        action satisfies never;
    }
  }
}

self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  const now = monoNow();
  switch (data.kind) {
    case "open":
      return run(machine.open(data.board, now));
    case "taken":
      return run(machine.taken());
    case "visible":
      return run(machine.setVisible(data.visible, now));
    case "resync":
      return run(machine.resync(now));
    case "retry":
      return run(machine.retry(now));
    case "report":
      return run(machine.report(data.report));
    default:
      data satisfies never;
  }
};

self.addEventListener("online", () => run(machine.retry(monoNow())));
setInterval(() => run(machine.tick(monoNow())), TICK_MS);
