//! The page's end of the worker: keeps `BoardState`, takes an update as soon as it comes (so the worker may
//! send the next), and tells listeners what changed. Painting is theirs, later, once a frame.

import type { Board } from "../wire/layout";
import type { LinkStatus, Report, ToPage, ToWorker, Update } from "./messages";
import { BoardState } from "./state";

export interface FeedListener {
  /** A board to build: the first, another, or a new version. Cells are still those of the old one. */
  onLayout(board: Board, generation: number): void;
  onUpdate(update: Update): void;
  onStatus(status: LinkStatus): void;
}

export class FeedClient {
  readonly state = new BoardState();

  constructor(
    private readonly worker: Pick<Worker, "postMessage" | "onmessage">,
    private readonly listener: FeedListener,
  ) {
    worker.onmessage = ({ data }: MessageEvent<ToPage>) => this.receive(data);
  }

  open(board: string): void {
    this.tell({ kind: "open", board });
  }

  setVisible(visible: boolean): void {
    this.tell({ kind: "visible", visible });
  }

  retry(): void {
    this.tell({ kind: "retry" });
  }

  report(report: Report): void {
    this.tell({ kind: "report", report });
  }

  private receive(message: ToPage): void {
    switch (message.kind) {
      case "layout":
        this.state.expect(message.epoch, message.generation, message.board);
        this.listener.onLayout(message.board, message.generation);
        return;
      case "update":
        try {
          if (this.state.apply(message.update)) this.listener.onUpdate(message.update);
          else this.tell({ kind: "resync" });
        } finally {
          this.tell({ kind: "taken" });
        }
        return;
      case "status":
        this.listener.onStatus(message.status);
        return;
      default:
        message satisfies never;
    }
  }

  private tell(message: ToWorker): void {
    this.worker.postMessage(message);
  }
}
