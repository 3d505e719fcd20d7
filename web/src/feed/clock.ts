//! The server's clock seen from here: of the latest pings the one with the shortest round trip is believed,
//! for its answer was least delayed (NTP's minimum filter). Error is at most half that round trip.

import { millis, type Millis, type MonoMs, type UnixMs } from "../units/brand";

/** Pings remembered; at one every two seconds this is half a minute, short enough to follow drift. */
const SAMPLES_MAX = 16;

interface Sample { readonly offset: Millis; readonly rtt: Millis }

export class ServerClock {
  private samples: Sample[] = [];

  /** Takes the answer to a ping sent at `sent`, received at `received`, stating the server's `time`. */
  answer(sent: MonoMs, received: MonoMs, time: UnixMs): void {
    const rtt = received - sent;
    if (!(rtt >= 0)) return;
    this.samples.push({ offset: millis(time - (sent + rtt / 2)), rtt: millis(rtt) });
    if (this.samples.length > SAMPLES_MAX) this.samples.shift();
  }

  /** A cut forgets: the server behind the address may be another machine. */
  reset(): void {
    this.samples = [];
  }

  get count(): number {
    return this.samples.length;
  }

  get best(): Sample | undefined {
    return this.samples.reduce<Sample | undefined>((best, s) => (best === undefined || s.rtt < best.rtt ? s : best), undefined);
  }
}
