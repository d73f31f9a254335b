// Tells a screen reader politely, at most once a minute, that the data moved on; trouble announces itself where it stands.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { useWatched } from "../lib/poll.ts";
import { clock } from "../lib/time.ts";

const QUIET_MS = 60_000;

export function Announcer(): JSX.Element {
  const known = useWatched().map(({ dataAsOf }) => dataAsOf).filter((ts) => ts !== null);
  const newest = known.length === 0 ? null : Math.max(...known);
  const [text, setText] = useState("");
  const told = useRef({ at: Date.now(), ts: newest });
  useEffect(() => {
    if (newest === null || newest === told.current.ts || Date.now() - told.current.at < QUIET_MS) return;
    told.current = { at: Date.now(), ts: newest };
    setText(`Data as of ${clock(newest)}`);
  }, [newest]);
  return <div class="visually-hidden" role="status" aria-live="polite">{text}</div>;
}
