// Start a check of a range; without an admin key a sentence says why there is no form.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { deskNow } from "../../lib/time.ts";
import { Action } from "../../parts/Action.tsx";

const DAY_MS = 86_400_000;
const RANGES = [["1", "day"], ["7", "week"], ["31", "31 days"]] as const;
const HINTS = { 502: "discord_notifier does not answer." };

export function Start({ isAdmin, onStarted }: { isAdmin: boolean; onStarted: () => void }): JSX.Element {
  const [days, setDays] = useState("1");
  const [isRepairing, setRepairing] = useState(true);
  if (!isAdmin) return <p class="hint">A check is started with an admin key.</p>;
  const body = (): object => {
    const now = deskNow();
    return { since: new Date(now - Number(days) * DAY_MS).toISOString(), until: new Date(now).toISOString(), repair: isRepairing };
  };
  return (
    <form class="toolbar panel" onSubmit={(event) => event.preventDefault()} aria-label="Start a check">
      <label class="row">
        <span class="hint">Executions of the last</span>
        <select value={days} onChange={(event) => setDays(event.currentTarget.value)}>{RANGES.map(([value, words]) => <option key={value} value={value}>{words}</option>)}</select>
      </label>
      <label class="check"><input type="checkbox" checked={isRepairing} onChange={(event) => setRepairing(event.currentTarget.checked)} /> Repair what is found</label>
      <Action label="Start a check" path="/timed/admin/reconciliation" body={body} kind="primary" done="Queued. It is worked on within a minute." onDone={onStarted} hints={HINTS} />
    </form>
  );
}
