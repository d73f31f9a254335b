// The sources of an account of IBKR: socket and statements, each with its last run and what it covered.
import type { JSX } from "preact";
import { Age } from "../../parts/Age.tsx";
import { Pill, type Tone } from "../../parts/Pill.tsx";
import { When } from "../../parts/When.tsx";
import type { Numbered, Source } from "./types.ts";
import { spaced } from "./words.ts";

const TONES: Readonly<Record<string, Tone>> = { ok: "gain", late: "warning", failing: "loss", never: "warning" };

// A card per source; nothing for accounts whose runs have one source.
export function Sources({ of }: { of: Numbered | undefined }): JSX.Element | null {
  if (of === undefined) return null;
  return (
    <ul class="sources" aria-label="Sources of the account">
      {of.sources.map((one) => (
        <li key={`${one.source} ${one.kind}`}>
          <p><strong>{one.source} {spaced(one.kind)}</strong> <Pill tone={TONES[one.state] ?? "warning"}>{one.state}</Pill></p>
          <p class="hint">last run <Age ts={one.started_ts} />, {spaced(one.run_state)}{one.has_found_nothing && ", found nothing new"}{one.error_class !== null && `: ${one.error_class}`}</p>
          <p class="hint">{covered(one)}</p>
        </li>
      ))}
      {of.sources.length === 0 && <li>No run yet.</li>}
    </ul>
  );
}

function covered(one: Source): JSX.Element {
  if (one.covered_from_ts === null) return <>covered nothing</>;
  return <>covered <When ts={one.covered_from_ts} date seconds={false} zone={false} /> – <When ts={one.covered_to_ts} date seconds={false} /></>;
}
