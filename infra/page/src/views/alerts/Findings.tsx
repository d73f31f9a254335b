// What a check found: each finding with the fields that the ledger expects and those that stand on Discord.
import type { JSX } from "preact";
import { HIDDEN, usePrivacy } from "../../lib/privacy.ts";
import { usePolled } from "../../lib/poll.ts";
import { Book } from "../../parts/Book.tsx";
import { Loaded } from "../../parts/Loaded.tsx";
import { Pill } from "../../parts/Pill.tsx";
import { Skeleton } from "../../parts/Skeleton.tsx";
import type { Finding, Proof, Proofs } from "./types.ts";
import { spaced, toneOf } from "./words.ts";

const OPEN = new Set(["ticker", "direction", "action_type", "executed_at", "version", "title", "color", "colour", "timestamp", "price", "reason"]); // what is no amount

export function Findings({ run, seconds }: { run: Proof; seconds: number }): JSX.Element {
  const found = usePolled<Proofs>("/api/v1/notifications/reconciliation", { run_id: run.run_id }, seconds);
  return (
    <Loaded of={found} skeleton={<Skeleton rows={2} />}>
      {({ findings, has_more_findings }) =>
        findings.length === 0 ? (
          <p class="hint">{run.finished_ts === null ? "Nothing found so far." : "Every message equals its ledger row."}</p>
        ) : (
          <>
            <ul class="findings">{findings.map((one) => <One key={one.ordinal} of={one} />)}</ul>
            {has_more_findings && <p class="hint">Only the first {findings.length} findings are listed.</p>}
          </>
        )
      }
    </Loaded>
  );
}

function One({ of }: { of: Finding }): JSX.Element {
  const isHidden = usePrivacy();
  const shown = (field: string, text: string | null): string => (text === null ? "nothing" : isHidden && !OPEN.has(field) ? HIDDEN : text);
  return (
    <li class="panel">
      <h4>
        <Pill tone={toneOf(of.kind)}>{of.kind}</Pill> {of.book_id !== null && <><Book id={of.book_id} /> · </>}
        <span class="mono">{of.subject_key.split("/").at(-1)}</span> {of.repaired_ts !== null && <Pill tone="gain">repaired</Pill>}
      </h4>
      {of.note !== null && of.note !== "" && <p class="hint">{spaced(of.note)}</p>}
      {of.differences.length > 0 && (
        <table class="plain fields">
          <caption class="visually-hidden">What the ledger expects and what stands on Discord</caption>
          <thead><tr><th scope="col">Field</th><th scope="col">Ledger expects</th><th scope="col">Discord shows</th></tr></thead>
          <tbody>
            {of.differences.map(({ field, expected, found }) => (
              <tr key={field}><th scope="row">{spaced(field)}</th><td><ins>{shown(field, expected)}</ins></td><td><del>{shown(field, found)}</del></td></tr>
            ))}
          </tbody>
        </table>
      )}
    </li>
  );
}
