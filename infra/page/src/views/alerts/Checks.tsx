// Checks of what stands on Discord against the ledger: runs with their counts, and each finding field by field.

import { useState } from "preact/hooks";
import { Action, Empty, Loaded, More, Pill, Rows, Skeleton, When, spaced, usePages, usePolled, type Column, type Tone } from "../kit";
import type { Check, Finding } from "./types";
import { TONES as KINDS } from "./Deliveries";

const TONES: Record<string, Tone> = { queued: "info", running: "info", proven: "good", repaired: "good", open: "bad", aborted: "bad" };
const DAY_MS = 86_400_000;
const BUSY = new Set(["queued", "running"]);

interface Given {
  isAdmin: boolean;
  chosen: string | null;
  onChoose: (run: string | null) => void;
}

/** The runs, and the form that starts one. */
export function Checks({ isAdmin, chosen, onChoose }: Given) {
  const found = usePages<Check, { as_of_ts: number; items: Check[] }>("/api/v1/notifications/reconciliation", { limit: "25" }, 30, (items) => (items.some((one) => BUSY.has(one.status)) ? 3 : 30));
  return (
    <>
      <Start isAdmin={isAdmin} now={found.data?.as_of_ts} onStarted={found.refresh} />
      <Loaded of={found} what="checks" skeleton={<Skeleton kind="rows" />}>
        {() =>
          found.items.length === 0 ? (
            <Empty title="No check yet" hint="Messages are checked every hour and after the close; each check stands here with what it found." />
          ) : (
            <>
              <Rows caption="Checks, newest first" columns={columns(chosen, onChoose)} rows={found.items} keyOf={(one) => one.run_id} opened={chosen} detail={(one) => <Findings run={one} />} />
              <More of={found} />
            </>
          )
        }
      </Loaded>
    </>
  );
}

function columns(chosen: string | null, onChoose: (run: string | null) => void): Column<Check>[] {
  return [
    { label: "Check", kind: "head", cell: (one) => (
      <button type="button" class="opener" aria-expanded={chosen === one.run_id} onClick={() => onChoose(chosen === one.run_id ? null : one.run_id)}><When ts={one.started_ts ?? one.queued_ts} date /></button>
    ) },
    { label: "Channel", cell: (one) => one.channel_id ?? "all" },
    { label: "Status", cell: (one) => <Pill tone={TONES[one.status] ?? "warn"} title={one.reason ?? undefined}>{one.status + (one.reason === null ? "" : `: ${spaced(one.reason)}`)}</Pill> },
    { label: "Window", cell: (one) => <><When ts={one.since_ts} date /> – <When ts={one.until_ts} date /></> },
    { label: "Equal", kind: "number", cell: (one) => `${one.counts.equal ?? 0} of ${one.counts.actions ?? 0}` },
    { label: "Found", kind: "words", cell: found },
    { label: "Repaired", kind: "number", cell: (one) => (one.is_repairing ? (one.counts.repaired ?? 0) : "not asked for") },
    { label: "Asked by", cell: (one) => one.requested_by ?? "schedule" },
  ];
}

function found(one: Check): string {
  const told = ["missing", "wrong", "double", "orphan", "unverifiable"].filter((kind) => (one.counts[kind] ?? 0) > 0);
  return told.map((kind) => `${one.counts[kind]} ${kind}`).join(", ") || "nothing";
}

function Findings({ run }: { run: Check }) {
  const found = usePolled<{ findings: Finding[] }>("/api/v1/notifications/reconciliation", { run_id: run.run_id }, BUSY.has(run.status) ? 3 : 30);
  return (
    <Loaded of={found} what="findings" skeleton={<Skeleton kind="lines" />}>
      {(answer) => (answer.findings.length === 0 ? <p class="hint">{BUSY.has(run.status) ? "Nothing found so far." : "Every message equals its ledger row."}</p> : <ul class="findings">{answer.findings.map((one) => <One key={one.ordinal} of={one} />)}</ul>)}
    </Loaded>
  );
}

function One({ of }: { of: Finding }) {
  return (
    <li class="panel">
      <h4><Pill tone={KINDS[of.kind] ?? "warn"}>{spaced(of.kind)}</Pill> {of.subject_key ?? of.message_id ?? "no subject"} {of.repaired_ts !== null && <Pill tone="good">repaired</Pill>}</h4>
      {of.note && <p class="hint">{of.note}</p>}
      {of.differences.length > 0 && (
        <table class="plain fields">
          <caption class="hidden">What the ledger expects and what stands on Discord</caption>
          <thead><tr><th scope="col">Field</th><th scope="col">Expected</th><th scope="col">Found</th></tr></thead>
          <tbody>{of.differences.map((one) => <tr key={one.field}><th scope="row">{one.field}</th><td><ins>{one.expected ?? "nothing"}</ins></td><td><del>{one.found ?? "nothing"}</del></td></tr>)}</tbody>
        </table>
      )}
    </li>
  );
}

function Start({ isAdmin, now, onStarted }: { isAdmin: boolean; now: number | undefined; onStarted: () => void }) {
  const [days, setDays] = useState("1");
  const [isRepairing, setRepairing] = useState(true);
  if (!isAdmin) return <p class="hint">A check is started with an admin key.</p>;
  return (
    <form class="toolbar check-form" onSubmit={(event) => event.preventDefault()} aria-label="Start a check">
      <label>Of the last{" "}
        <select value={days} onChange={(event) => setDays(event.currentTarget.value)}>
          {[["1", "day"], ["7", "week"], ["31", "31 days"]].map(([value, words]) => <option key={value} value={value}>{words}</option>)}
        </select>
      </label>
      <label class="check"><input type="checkbox" checked={isRepairing} onChange={(event) => setRepairing(event.currentTarget.checked)} /> repair what is found</label>
      <Action label="Start a check" path="/timed/admin/reconciliation" isPrimary isDisabled={now === undefined}
        body={() => ({ since: new Date(now! - Number(days) * DAY_MS).toISOString(), until: new Date(now!).toISOString(), repair: isRepairing })}
        done="Queued. It is worked on within a minute." onDone={onStarted} hints={{ 502: "discord_notifier does not answer." }} />
    </form>
  );
}
