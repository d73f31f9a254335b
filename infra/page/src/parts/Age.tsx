// How long ago, by the desk's clock, and still right a minute later.
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { age, clock, tip, useTick } from "../lib/time.ts";

interface Props {
  ts: number | null | undefined;
  never?: string;
  lateMinutes?: number; // amber from here
  oldMinutes?: number; // red from here
}

export function Age({ ts, never = "never", lateMinutes, oldMinutes }: Props): JSX.Element {
  // in one, because hundreds of ages tick together
  const [tone, text] = useTick((now) => {
    if (ts === null || ts === undefined) return `unknown ${never}`;
    const minutes = (now - ts) / 60_000;
    return `${oldMinutes !== undefined && minutes >= oldMinutes ? "old" : lateMinutes !== undefined && minutes >= lateMinutes ? "late" : "fresh"} ${age(ts, now)}`;
  }).split(/ (.*)/);
  // the tool tip stays while the words go on
  const title = useMemo(() => (ts === null || ts === undefined ? "" : `${clock(ts, { date: true })} · ${tip(ts)}`), [ts]);
  if (ts === null || ts === undefined) return <span class="unknown">{text}</span>;
  return <time class={`age ${tone}`} dateTime={new Date(ts).toISOString()} title={title}>{text}</time>;
}
