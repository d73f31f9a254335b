// Every broker account in one list, those that wait for a person first. A row leads to everything about its account.
import type { JSX } from "preact";
import { percent } from "../../lib/decimal.ts";
import { Link, type Given } from "../../lib/router.tsx";
import { Age } from "../../parts/Age.tsx";
import { Book } from "../../parts/Book.tsx";
import { column, heading, numeric } from "../../parts/columns.ts";
import { Label } from "../../parts/Label.tsx";
import { Money } from "../../parts/Money.tsx";
import { Pill } from "../../parts/Pill.tsx";
import { Table, type Column } from "../../parts/Table.tsx";
import type { Account } from "./types.ts";
import { RANK, spaced, STATES } from "./words.ts";

// Worst first; the same state by label.
export function worstFirst(accounts: readonly Account[]): Account[] {
  return [...accounts].sort((a, b) => RANK.indexOf(a.state) - RANK.indexOf(b.state) || (a.label < b.label ? -1 : a.label > b.label ? 1 : 0));
}

interface Props {
  accounts: readonly Account[];
  chosen: string | null;
  to: (account: Account) => Given;
}

export function AccountList({ accounts, chosen, to }: Props): JSX.Element {
  const columns: Column<Account>[] = [
    heading("Account", (one) => (
      <Link to="/app/accounts" params={to(one)} class="account-link" aria-current={one.account_id === chosen ? "true" : undefined}>
        <Label text={one.label} /> <small class="hint">{one.platform === "IBKR" ? <Book id={one.book_id} /> : `MT5 · ${one.broker_name}`}</small>
      </Link>
    )),
    column("State", (one) => <State of={one} />),
    numeric("Balance", (one) => <Money value={one.balances?.balance} currency={one.balances?.currency ?? null} missing="not told by this broker" />),
    numeric("Floating P&L", (one) => <Money value={one.balances?.floating_profit} currency={one.balances?.currency ?? null} pnl missing="not told by this broker" />),
    column("Last success", (one) => <span class={one.state === "ok" || one.state === "paused" ? undefined : "late"}><Age ts={one.last_success_ts} /></span>),
    numeric("Open", open),
    numeric("Closed today", (one) => one.closed_today ?? "—"),
    column("Cash", (one) => <span class={one.cash_state === "gap" ? "late" : undefined}>{cash(one)}</span>),
    column("Last error", (one) => <span class="words">{wrong(one)}</span>),
  ];
  return (
    <Table
      caption="Broker accounts, those that wait for a person first"
      columns={columns}
      rows={worstFirst(accounts)}
      rowKey={(one) => one.account_id}
      rowClass={(one) => (one.account_id === chosen ? "chosen" : "")}
    />
  );
}

function State({ of }: { of: Account }): JSX.Element {
  const found = STATES[of.state];
  return (
    <span class="account-state">
      <Pill tone={found.tone} title={found.meaning}>{found.word}</Pill>
      {of.failures_in_a_row > 0 && <small class="hint"> {of.failures_in_a_row} in a row</small>}
    </span>
  );
}

function open(one: Account): string {
  if (one.open_positions === null) return "—";
  return one.open_positions + (one.close_pending === null || one.close_pending === 0 ? "" : ` (${one.close_pending} closing)`);
}

function cash(one: Account): string {
  const isWhole = one.backfill_state === null || one.backfill_state === "done";
  const history = isWhole ? "" : `history ${percent(one.backfill_percent ?? "0")}`;
  return [one.cash_state === null ? "" : spaced(one.cash_state), history].filter((part) => part !== "").join(" · ") || "—";
}

function wrong(one: Account): string {
  return [one.last_error?.class, one.last_error?.text].filter((part) => part != null && part !== "").join(": ") || "—";
}
