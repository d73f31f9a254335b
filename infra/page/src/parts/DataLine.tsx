// "Data as of 14:03:22 EST · 12 s ago · next check in 8 s · Pause": how fresh the screen is, and who decides that.
import type { JSX } from "preact";
import { refreshAll, pause, usePaused, useWatched, type Watch } from "../lib/poll.ts";
import { age, clock, deskNow, tip, useTick } from "../lib/time.ts";
import { Icon } from "./Icon.tsx";

function newest(watched: readonly Watch[]): number | null {
  const known = watched.filter(({ address }) => !address.startsWith("/timed/session")).map(({ dataAsOf }) => dataAsOf).filter((ts) => ts !== null);
  return known.length === 0 ? null : Math.max(...known);
}

function troubled(watched: readonly Watch[]): Watch | undefined {
  return watched.find(({ state }) => state === "offline") ?? watched.find(({ error }) => error !== null && error.status !== 404); // that there is nothing is an answer
}

function next(watched: readonly Watch[], isPaused: boolean): string {
  if (isPaused) return "paused";
  const times = watched.map(({ nextAt }) => nextAt).filter((at) => at !== null);
  if (times.length === 0) return "checking";
  return `next check in ${Math.max(0, Math.ceil((Math.min(...times) - Date.now()) / 1000))} s`;
}

export function DataLine(): JSX.Element {
  const watched = useWatched();
  const isPaused = usePaused();
  const ts = newest(watched);
  const ago = useTick((now) => (ts === null ? "" : age(ts, now)));
  const check = useTick(() => next(watched, isPaused));
  const trouble = troubled(watched);
  const tone = trouble === undefined ? (isPaused ? "paused" : "") : trouble.state === "offline" ? "offline" : "troubled";
  return (
    <div class={`data-line ${tone}`}>
      <p>
        {trouble !== undefined && <strong class="data-line-trouble">{trouble.state === "offline" ? "No connection" : `Error ${trouble.error?.status ?? ""}`} · </strong>}
        {ts === null ? (watched.some(({ state }) => state === "loading") ? "Waiting for data" : "No data yet") : <>Data as of <time class="num" dateTime={new Date(ts).toISOString()} title={tip(ts)}>{clock(ts, { date: deskNow() - ts > 86_400_000 })}</time><span class="data-line-age"> · {ago}</span></>}
        <span class="data-line-next"> · {check}</span>
      </p>
      <button type="button" class="button quiet small" aria-pressed={isPaused} onClick={pause.toggle}><Icon name={isPaused ? "play" : "pause"} />{isPaused ? "Resume" : "Pause"}</button>
      <button type="button" class="button quiet small" onClick={refreshAll} aria-keyshortcuts="r"><Icon name="refresh" /><span class="visually-hidden">Refresh now</span></button>
    </div>
  );
}
