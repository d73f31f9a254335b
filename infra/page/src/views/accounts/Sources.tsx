// The sources of an account of IBKR: socket and statements, each with its last run and what it covered.

import { Age, Pill, When } from "../kit";
import type { Numbered, Source } from "./types";
import { spaced, type Tone } from "./words";

const TONES: Record<string, Tone> = { ok: "good", late: "warn", failing: "bad", never: "warn" };

/** A card per source; nothing for accounts whose runs have one source. */
export function Sources({ of, now }: { of: Numbered | undefined; now: number }) {
  if (of === undefined) return <div />;
  return (
    <ul class="sources" aria-label="Sources of the account">
      {of.sources.map((one) => (
        <li key={one.source + one.kind}>
          <b>{one.source} {spaced(one.kind)}</b> <Pill tone={TONES[one.state] ?? "warn"}>{one.state + (one.error_class === null ? "" : ` (${one.error_class})`)}</Pill>
          <small>last run <Age ts={one.started_ts} now={now} />, {spaced(one.run_state)}{one.has_found_nothing && ", found nothing new"}</small>
          <small>{covered(one)}</small>
        </li>
      ))}
      {of.sources.length === 0 && <li>No run yet.</li>}
    </ul>
  );
}

function covered(one: Source) {
  if (one.covered_from_ts === null) return "covered nothing";
  return <>covered <When ts={one.covered_from_ts} date /> – <When ts={one.covered_to_ts} date /></>;
}
