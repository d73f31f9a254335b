// The execution time line: what was done, at what price, what it earned, why, which lots it touched, and what the position was
// right after it. A row opens: lots, message, broker's ids, and the why-trace; what is open stays open through every refresh.
import type { JSX } from "preact";
import { Fragment } from "preact";
import type { Evidence, Execution, OwnMessage, Trade, Version } from "../../api/types.ts";
import { useFilters } from "../../lib/router.tsx";
import { Card } from "../../parts/Card.tsx";
import { Icon } from "../../parts/Icon.tsx";
import { Money } from "../../parts/Money.tsx";
import { Pill } from "../../parts/Pill.tsx";
import { Price } from "../../parts/Price.tsx";
import { Qty } from "../../parts/Qty.tsx";
import { When } from "../../parts/When.tsx";
import { ExecutionDetail } from "./ExecutionDetail.tsx";
import { MessageState } from "./MessageState.tsx";

interface Props {
  trade: Trade;
  actions: readonly Execution[];
  messages: readonly OwnMessage[];
  versions: readonly Version[];
  evidence: readonly Evidence[];
}

const TITLES = ["Action", "Time", "Quantity", "Price", "Value", "Fees", "Net P&L", "Reason", "Lots", "Quantity after", "VWAP after", "Message"] as const;
const NUMERIC: ReadonlySet<string> = new Set(["Quantity", "Price", "Value", "Fees", "Net P&L", "Lots", "Quantity after", "VWAP after"]);

export function Executions({ trade, actions, messages, versions, evidence }: Props): JSX.Element {
  const [params, change] = useFilters();
  const open = new Set((params["open"] ?? "").split(",").filter((id) => id !== ""));
  const toggle = (id: string): void => {
    const next = new Set(open);
    if (!next.delete(id)) next.add(id);
    change({ open: [...next].join(",") });
  };
  return (
    <Card title="Executions" hint="Oldest first; open a row for its lots, its message, the broker's ids and why it was done" class="journey-executions">
      <div class="table-frame" role="region" aria-label="Executions of the position" tabIndex={0}>
        <table class="table executions" role="table">
          <caption class="visually-hidden">Executions of the position, oldest first</caption>
          <thead role="rowgroup">
            <tr role="row">{TITLES.map((title) => <th key={title} role="columnheader" scope="col" class={NUMERIC.has(title) ? "numeric" : undefined}>{title}</th>)}</tr>
          </thead>
          <tbody role="rowgroup">
            {actions.map((action) => (
              <Fragment key={action.action_id}>
                <Row action={action} trade={trade} isOpen={open.has(action.action_id)} toggle={toggle} />
                {open.has(action.action_id) && (
                  <tr role="row" class="execution-more" id={`more-${action.action_id}`}>
                    <td role="cell" colSpan={TITLES.length}>
                      <ExecutionDetail
                        trade={trade}
                        action={action}
                        message={messages.find(({ action_id }) => action_id === action.action_id) ?? null}
                        evidence={evidence.filter(({ action_id }) => action_id === action.action_id)}
                        versions={versions.filter(({ action_id }) => action_id === action.action_id).length}
                      />
                    </td>
                  </tr>
                )}
              </Fragment>
            ))}
          </tbody>
        </table>
      </div>
    </Card>
  );
}

interface RowProps {
  action: Execution;
  trade: Trade;
  isOpen: boolean;
  toggle: (id: string) => void;
}

function Row({ action, trade, isOpen, toggle }: RowProps): JSX.Element {
  const closes = action.action_type === "TRIM" || action.action_type === "EXIT";
  const money = (value: string | null, pnl = false): JSX.Element => <Money value={value} currency={trade.currency} pnl={pnl} />;
  return (
    <tr role="row" class={isOpen ? "is-open" : undefined}>
      <th role="rowheader" scope="row" data-label="Action">
        <button type="button" class="execution-toggle" aria-expanded={isOpen} aria-controls={`more-${action.action_id}`} onClick={() => toggle(action.action_id)}>
          <Icon name={isOpen ? "down" : "right"} /> <Pill>{action.action_type}</Pill>
          {action.version > 1 && <span class="execution-version">v{action.version}</span>}
        </button>
      </th>
      <td role="cell" data-label="Time"><When ts={action.ts} date /></td>
      <td role="cell" class="numeric" data-label="Quantity"><Qty value={action.qty} /></td>
      <td role="cell" class="numeric" data-label="Price"><Price value={action.price} /></td>
      <td role="cell" class="numeric" data-label="Value">{money(action.value)}</td>
      <td role="cell" class="numeric" data-label="Fees">{money(action.fees)}</td>
      <td role="cell" class="numeric" data-label="Net P&L">{closes ? money(action.pnl_realized, true) : <span class="unknown">opens</span>}</td>
      <td role="cell" data-label="Reason"><span class="execution-reason">{action.reason_text ?? action.reason ?? "—"}</span></td>
      <td role="cell" class="numeric" data-label="Lots">{closes ? action.lots.length : 1}</td>
      <td role="cell" class="numeric" data-label="Quantity after"><Qty value={action.qty_after} /></td>
      <td role="cell" class="numeric" data-label="VWAP after"><Price value={action.vwap_after} missing="nothing is held" /></td>
      <td role="cell" data-label="Message"><MessageState state={action.message?.state ?? null} /></td>
    </tr>
  );
}
