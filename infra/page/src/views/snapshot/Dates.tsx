// The published days as a strip, newest first: each with its stage and version; the newest says how fresh it is.
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Link } from "../../lib/router.tsx";
import { dayWords } from "../../lib/time.ts";
import { Pill } from "../../parts/Pill.tsx";
import type { DayNamed, SnapshotFreshness } from "./types.ts";
import { FRESHNESS, STAGES } from "./words.ts";

interface Props {
  days: readonly DayNamed[];
  chosen: string | null;
  kpi: string | null;
  more: (() => void) | null;
  freshness: SnapshotFreshness | null;
}

export function Dates({ days, chosen, kpi, more, freshness }: Props): JSX.Element {
  const strip = useRef<HTMLOListElement>(null);
  const known = freshness === null ? null : FRESHNESS[freshness.state];
  useEffect(() => strip.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" }), [chosen]);
  return (
    <nav aria-label="Published days">
      <ol class="dates" ref={strip}>
        {days.map((one) => (
          <li key={one.date}>
            <Link to="/app/snapshot" params={{ date: one.date, kpi }} class="date" aria-current={one.date === chosen ? "date" : undefined}>
              <strong>{dayWords(one.date, false)}</strong>
              <span class="date-words">
                <Stage of={one.stage} />
                {one === days[0] && known !== null && <Pill tone={known.tone} title={known.meaning}>{known.word}</Pill>}
              </span>
              <small class="hint">{one.restated > 0 ? <span class="late">restated, version {one.version}</span> : `version ${one.version}`}</small>
            </Link>
          </li>
        ))}
        {more !== null && <li><button type="button" class="button" onClick={more}>Older days</button></li>}
      </ol>
    </nav>
  );
}

export function Stage({ of }: { of: string | null }): JSX.Element {
  const known = STAGES[of ?? ""];
  return <Pill tone={known?.tone ?? "warning"} title={known?.meaning ?? "its sender said none"}>{of ?? "no stage"}</Pill>;
}
