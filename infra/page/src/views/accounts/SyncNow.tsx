// Ask for a sync of one account; what comes of it stands among its runs.
import type { JSX } from "preact";
import { refreshAll } from "../../lib/poll.ts";
import { Action } from "../../parts/Action.tsx";
import type { Account } from "./types.ts";

interface Props {
  account: Account;
  isAdmin: boolean;
}

const LOOKS_MS = [500, 2_000, 5_000, 10_000, 20_000]; // a sync of one account takes seconds

const HINTS = {
  409: "A run of this account is under way already.",
  429: "It was synced a moment ago.",
  502: "The function that syncs does not answer.",
};

// The button; without an admin key a sentence says why there is none.
export function SyncNow({ account, isAdmin }: Props): JSX.Element {
  if (!isAdmin) return <p class="hint">A sync is asked for with an admin key.</p>;
  if (!account.is_active) return <p class="hint">This account is switched off; nothing is fetched.</p>;
  return (
    <Action
      label="Sync now"
      path="/timed/admin/sync"
      body={() => ({ account_id: account.account_id })}
      done="Asked for. The run stands below as soon as it has begun."
      onDone={() => LOOKS_MS.forEach((ms) => setTimeout(refreshAll, ms))}
      hints={HINTS}
    />
  );
}
