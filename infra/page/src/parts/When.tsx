// An instant in exchange time; UTC and the viewer's own zone in the tool tip.
import type { JSX } from "preact";
import { NONE } from "../lib/decimal.ts";
import { clock, tip, type Shown } from "../lib/time.ts";

interface Props extends Shown {
  ts: number | null | undefined;
  never?: string; // what stands where there is no instant
}

export function When({ ts, never = NONE, ...shown }: Props): JSX.Element {
  if (ts === null || ts === undefined) return <span class="unknown">{never}</span>;
  return <time class="num when" dateTime={new Date(ts).toISOString()} title={tip(ts)}>{clock(ts, shown)}</time>;
}
