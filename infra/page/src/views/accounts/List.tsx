// Every broker account in one list, those that wait for a person first. A row leads to everything about its account.

import { Age, Label, Link, Money, Pill, Rows, Signed, Text, When, type Column } from "../kit";
import type { Account } from "./types";
import { RANK, STATES, spaced } from "./words";

/** Worst first; the same state by label. */
export function worstFirst(accounts: readonly Account[]): Account[] {
  return [...accounts].sort(
    (a, b) => RANK.indexOf(a.state) - RANK.indexOf(b.state) || (a.label < b.label ? -1 : a.label > b.label ? 1 : 0),
  );
}

interface Given {
  accounts: readonly Account[];
  now: number;
  chosen: string | null;
  to: (account: Account) => Record<string, string | null>;
}

/** The accounts; the chosen one is marked. */
export function AccountList({ accounts, now, chosen, to }: Given) {
  const columns: Column<Account>[] = [
    {
      label: "Account",
      kind: "head",
      cell: (one) => (
        <Link to="accounts" params={to(one)} replace class="account-link" current={one.account_id === chosen}>
          <Label text={one.label} />
          <small>{one.platform} · {one.broker_name}</small>
        </Link>
      ),
    },
    { label: "State", cell: (one) => <State of={one} /> },
    { label: "Balance", kind: "number", cell: (one) => <Money text={one.balances?.balance} currency={one.balances?.currency} /> },
    { label: "Floating P&L", kind: "number", cell: (one) => <Signed text={one.balances?.floating_profit} currency={one.balances?.currency} /> },
    { label: "Last success", tone: (one) => (one.state === "ok" || one.state === "paused" ? undefined : "warn"), cell: (one) => <Age ts={one.last_success_ts} now={now} /> },
    { label: "Next due", cell: (one) => <When ts={one.next_due_ts} /> },
    { label: "Open", kind: "number", cell: open },
    { label: "Closed today", kind: "number", cell: (one) => <Text of={one.closed_today} /> },
    { label: "Cash", tone: (one) => (one.cash_state === "gap" ? "warn" : undefined), cell: cash },
    { label: "Last error", kind: "words", cell: error },
  ];
  return (
    <Rows
      caption="Broker accounts, those that wait for a person first"
      columns={columns}
      rows={worstFirst(accounts)}
      keyOf={(one) => one.account_id}
      isChosen={(one) => one.account_id === chosen}
    />
  );
}

function State({ of }: { of: Account }) {
  const found = STATES[of.state];
  const run = of.failures_in_a_row > 0 ? ` · ${of.failures_in_a_row} in a row` : "";
  return <Pill tone={found?.tone ?? "warn"} title={found?.meaning}>{(found?.word ?? spaced(of.state)) + run}</Pill>;
}

function open(one: Account): string {
  if (one.open_positions === null) return "—";
  return one.open_positions + (one.close_pending ? ` (${one.close_pending} closing)` : "");
}

function cash(one: Account): string {
  const history = one.backfill_state === null || one.backfill_state === "done" ? "" : `history ${one.backfill_percent ?? "0"} %`;
  return [one.cash_state, history].filter(Boolean).join(" · ") || "—";
}

function error(one: Account): string {
  return [one.last_error?.class, one.last_error?.text].filter(Boolean).join(": ") || "—";
}
