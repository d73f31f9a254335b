// Corrections: each later version of an execution beside the one before, field by field, and what made it.
import type { ComponentChildren, JSX } from "preact";
import type { Trade, Version } from "../../api/types.ts";
import { Badge } from "../../parts/Badge.tsx";
import { Card } from "../../parts/Card.tsx";
import { Money } from "../../parts/Money.tsx";
import { Pill } from "../../parts/Pill.tsx";
import { Price } from "../../parts/Price.tsx";
import { Qty } from "../../parts/Qty.tsx";
import { Table, type Column } from "../../parts/Table.tsx";
import { When } from "../../parts/When.tsx";
import { sentence } from "../../parts/words.ts";

interface Field {
  name: string;
  text: (version: Version) => string | null; // what is compared
  shown: (version: Version) => ComponentChildren;
}

function fields(currency: string): readonly Field[] {
  const money = (name: string, read: (version: Version) => string | null, pnl = false): Field => ({ name, text: read, shown: (version) => <Money value={read(version)} currency={currency} pnl={pnl} /> });
  return [
    { name: "State", text: ({ state }) => state, shown: ({ state }) => <Badge tone={state === "VOID" ? "loss" : "plain"}>{state}</Badge> },
    { name: "Action", text: ({ action_type }) => action_type, shown: ({ action_type }) => <Pill>{action_type}</Pill> },
    { name: "Time", text: ({ ts }) => String(ts), shown: ({ ts }) => <When ts={ts} date /> },
    { name: "Quantity", text: ({ qty }) => qty, shown: ({ qty }) => <Qty value={qty} /> },
    { name: "Price", text: ({ price }) => price, shown: ({ price }) => <Price value={price} /> },
    money("Value", ({ value }) => value),
    money("Fees", ({ fees }) => fees),
    money("Net P&L", ({ pnl_realized }) => pnl_realized, true),
    { name: "Quantity after", text: ({ qty_after }) => qty_after, shown: ({ qty_after }) => <Qty value={qty_after} /> },
    { name: "VWAP after", text: ({ vwap_after }) => vwap_after, shown: ({ vwap_after }) => <Price value={vwap_after} /> },
    money("Realized after", ({ realized_pnl_after }) => realized_pnl_after, true),
    { name: "Reason", text: ({ reason }) => reason, shown: ({ reason }) => reason ?? "—" },
  ];
}

export interface Correction {
  before: Version;
  after: Version;
}

// every later version with the one before it, the newest correction first
export function corrections(versions: readonly Version[]): Correction[] {
  const byAction = new Map<string, Version[]>();
  for (const version of versions) byAction.set(version.action_id, [...(byAction.get(version.action_id) ?? []), version]);
  const found: Correction[] = [];
  for (const own of byAction.values()) {
    own.sort((a, b) => a.version - b.version);
    own.slice(1).forEach((after, number) => {
      const before = own[number];
      if (before !== undefined) found.push({ before, after });
    });
  }
  return found.sort((a, b) => b.after.known_from_ts - a.after.known_from_ts || b.after.version - a.after.version);
}

export function Corrections({ trade, versions }: { trade: Trade; versions: readonly Version[] }): JSX.Element | null {
  const found = corrections(versions);
  if (found.length === 0) return null;
  return (
    <Card title="Corrections" hint={`${found.length} ${found.length === 1 ? "correction" : "corrections"}; what was known before stays readable`} class="journey-corrections">
      <ol class="corrections">
        {found.map(({ before, after }) => <One key={`${after.action_id}/${after.version}`} before={before} after={after} currency={trade.currency} />)}
      </ol>
    </Card>
  );
}

function One({ before, after, currency }: Correction & { currency: string }): JSX.Element {
  const changed = fields(currency).filter(({ text }) => text(before) !== text(after));
  const columns: Column<Field>[] = [
    { key: "field", title: "Field", heading: true, cell: ({ name }) => name },
    { key: "before", title: `Before (version ${before.version})`, numeric: true, cell: ({ shown }) => shown(before) },
    { key: "after", title: `After (version ${after.version})`, numeric: true, cell: ({ shown }) => shown(after) },
  ];
  return (
    <li>
      <p class="correction-head">
        <Pill>{after.action_type}</Pill> <strong>Version {after.version}</strong> known since <When ts={after.known_from_ts} date /> · {sentence(after.cause)}
      </p>
      {changed.length === 0 ? (
        <p class="hint">No figure differs: what it rests on was confirmed or repeated.</p>
      ) : (
        <Table caption={`What version ${after.version} changed`} columns={columns} rows={changed} rowKey={({ name }) => name} />
      )}
    </li>
  );
}
