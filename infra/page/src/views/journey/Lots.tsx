// The lots: what each opening fill brought, what of it is still there, and what that is worth.
import type { JSX } from "preact";
import type { Lot, Trade } from "../../api/types.ts";
import { total } from "../../lib/decimal.ts";
import { Badge } from "../../parts/Badge.tsx";
import { Card } from "../../parts/Card.tsx";
import { Money } from "../../parts/Money.tsx";
import { Price } from "../../parts/Price.tsx";
import { Qty } from "../../parts/Qty.tsx";
import { Table, type Column } from "../../parts/Table.tsx";
import { When } from "../../parts/When.tsx";

function columns(currency: string): readonly Column<Lot>[] {
  return [
    { key: "entry", title: "Entry", heading: true, cell: ({ ts }) => <When ts={ts} date /> },
    { key: "qty", title: "Quantity", numeric: true, cell: ({ qty }) => <Qty value={qty} /> },
    { key: "price", title: "Price", numeric: true, cell: ({ price }) => <Price value={price} /> },
    { key: "value", title: "Value", numeric: true, cell: ({ value }) => <Money value={value} currency={currency} /> },
    { key: "remaining", title: "Remaining", numeric: true, cell: ({ remaining_qty }) => <Qty value={remaining_qty} /> },
    { key: "basis", title: "Cost basis", numeric: true, cell: ({ cost_basis }) => <Money value={cost_basis} currency={currency} /> },
    { key: "unrealized", title: "Unrealized", numeric: true, cell: (lot) => (lot.status === "OPEN" ? <Money value={lot.unrealized_pnl} currency={currency} pnl missing="no price" /> : <span class="unknown">closed</span>) },
    { key: "status", title: "Status", cell: ({ status }) => <Badge tone={status === "OPEN" ? "info" : "plain"}>{status}</Badge> },
  ];
}

// the sum where every part is known: an unknown one makes it unknown
function whole(parts: readonly (string | null)[]): string | null {
  return parts.some((part) => part === null) ? null : total(parts);
}

export function Lots({ trade, lots }: { trade: Trade; lots: readonly Lot[] }): JSX.Element {
  const open = lots.filter(({ status }) => status === "OPEN");
  return (
    <Card title="Lots" hint={`${lots.length} ${lots.length === 1 ? "lot" : "lots"}, ${open.length} open`} class="journey-lots">
      <Table
        caption="Lots of the position, oldest first"
        columns={columns(trade.currency)}
        rows={lots}
        rowKey={({ lot_id }) => lot_id}
        rowClass={({ status }) => (status === "CLOSED" ? "is-closed" : "")}
        foot={
          <tr role="row">
            <th role="rowheader" scope="row" data-label="">All lots</th>
            <td role="cell" class="numeric" data-label="Quantity"><Qty value={total(lots.map(({ qty }) => qty))} /></td>
            <td role="cell" class="numeric" data-label="" />
            <td role="cell" class="numeric" data-label="Value"><Money value={whole(lots.map(({ value }) => value))} currency={trade.currency} /></td>
            <td role="cell" class="numeric" data-label="Remaining"><Qty value={total(lots.map(({ remaining_qty }) => remaining_qty))} /></td>
            <td role="cell" class="numeric" data-label="Cost basis"><Money value={whole(lots.map(({ cost_basis }) => cost_basis))} currency={trade.currency} /></td>
            <td role="cell" class="numeric" data-label="Unrealized"><Money value={whole(open.map(({ unrealized_pnl }) => unrealized_pnl))} currency={trade.currency} pnl missing="no price" /></td>
            <td role="cell" data-label="" />
          </tr>
        }
      />
    </Card>
  );
}
