//! The banner: what stands between the viewer and live data, and the way out.

import type { LinkStatus } from "../feed/messages";
import type { MonoMs } from "../units/brand";
import { el, setText } from "./dom";
import type { Words } from "./i18n";

/** A cut shorter than this is not worth a banner. */
const PATIENCE_MS = 400;

export class BannerView {
  readonly element = el("div", "banner");
  private readonly text = el("span", "banner-text");
  private readonly button = el("button", "tool");
  private cutAt: number | undefined;

  constructor(private readonly words: Words, retry: () => void) {
    this.button.type = "button";
    this.button.addEventListener("click", retry);
    this.element.append(this.text, this.button);
    this.element.hidden = true;
  }

  /** True while the connection is cut long enough to be said. */
  show(status: LinkStatus | undefined, missing: "none" | "board" | "all", now: MonoMs): boolean {
    const noBoards = missing === "all";
    const gone = status?.state === "gone" || missing === "board";
    const cut = status?.state === "reconnecting" && !gone;
    if (!cut) this.cutAt = undefined;
    else this.cutAt ??= now;
    const said = cut && this.cutAt !== undefined && now - this.cutAt >= PATIENCE_MS;
    this.element.hidden = !(said || gone || noBoards);
    this.button.hidden = !said;
    if (said) {
      const wait = Math.max(0, Math.ceil(((status.retryAt ?? now) - now) / 1_000));
      setText(this.text, `${this.words.say("bannerReconnecting")} ${wait > 0 ? this.words.say("bannerRetry", { s: wait }) : ""}`);
      setText(this.button, this.words.say("bannerNow"));
    } else {
      setText(this.text, this.words.say(noBoards ? "bannerNone" : "bannerGone"));
    }
    return said;
  }
}
