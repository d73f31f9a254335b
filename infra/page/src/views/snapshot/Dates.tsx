// The published days as a strip, newest first: each with its stage, and how often it was published.

import { useEffect, useRef } from "preact/hooks";
import { Link, Pill, dayName } from "../kit";
import { FRESHNESS, STAGES } from "./words";
import type { PublishedDay } from "./types";

interface Given {
  days: readonly PublishedDay[];
  chosen: string | null;
  freshness: string | null;
  hasMore: boolean;
  onMore: () => void;
}

/** The strip; the newest day carries the desk's freshness. */
export function Dates({ days, chosen, freshness, hasMore, onMore }: Given) {
  const strip = useRef<HTMLOListElement>(null);
  useEffect(() => strip.current?.querySelector<HTMLElement>("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" }), [chosen]);
  const fresh = freshness === null ? undefined : FRESHNESS[freshness];
  return (
    <nav aria-label="Published days" class="dates">
      <ol ref={strip}>
        {days.map((one, place) => (
          <li key={one.date}>
            <Link to="snapshot" params={{ date: one.date }} keep={["kpi"]} replace current={one.date === chosen} class="date">
              <b>{dayName(one.date)}</b>
              <span>
                <Pill tone={STAGES[one.stage ?? ""]?.tone ?? "warn"} title={STAGES[one.stage ?? ""]?.meaning}>{one.stage ?? "no stage"}</Pill>
                {place === 0 && fresh !== undefined && <Pill tone={fresh.tone} title={fresh.meaning}>{fresh.word}</Pill>}
                {one.version > 1 && <small title={`Published ${one.version} times`}>version {one.version}</small>}
              </span>
            </Link>
          </li>
        ))}
        {hasMore && <li><button type="button" onClick={onMore}>Older days</button></li>}
      </ol>
    </nav>
  );
}
