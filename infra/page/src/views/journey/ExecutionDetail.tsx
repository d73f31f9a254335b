// An open row of the time line: the lots it closed, its message, what the broker said, and on demand why it was done.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { ClosedLot, Evidence, Execution, OwnMessage, Trade } from "../../api/types.ts";
import { Money } from "../../parts/Money.tsx";
import { Price } from "../../parts/Price.tsx";
import { Qty } from "../../parts/Qty.tsx";
import { Table, type Column } from "../../parts/Table.tsx";
import { When } from "../../parts/When.tsx";
import { discordLink, MessageState, messageWords } from "./MessageState.tsx";
import { Source } from "./Sources.tsx";
import { Why } from "./Why.tsx";

interface Props {
  trade: Trade;
  action: Execution;
  message: OwnMessage | null;
  evidence: readonly Evidence[];
  versions: number;
}

export function ExecutionDetail({ trade, action, message, evidence, versions }: Props): JSX.Element {
  const [isAsking, setAsking] = useState(false);
  return (
    <div class="execution-detail">
      <div class="execution-parts">
        <section aria-label="Lots touched">
          <h3>Lots touched</h3>
          {action.lots.length === 0 ? <p class="hint">It opened a lot of its own.</p> : <Touched trade={trade} lots={action.lots} />}
        </section>
        <section aria-label="Message">
          <h3>Discord message</h3>
          <Told action={action} message={message} />
        </section>
        <section aria-label="Broker ids">
          <h3>Broker ids</h3>
          {evidence.length === 0 ? <p class="hint">No fill is known for it.</p> : <ul class="fill-list">{evidence.map((one) => <Source key={`${one.fill_id}/${one.version}`} one={one} />)}</ul>}
          <p class="hint">action <span class="mono">{action.action_id}</span>, version {action.version}{versions > 1 && ` of ${versions}`}</p>
        </section>
      </div>
      <button type="button" class="button" aria-expanded={isAsking} onClick={() => setAsking(!isAsking)}>{isAsking ? "Hide why" : "Why was this done?"}</button>
      {isAsking && <Why action={action} bookId={trade.book_id} />}
    </div>
  );
}

function Touched({ trade, lots }: { trade: Trade; lots: readonly ClosedLot[] }): JSX.Element {
  const columns: readonly Column<ClosedLot>[] = [
    { key: "lot", title: "Lot", heading: true, cell: ({ lot_id }) => <span class="mono" title={lot_id}>{lot_id.slice(0, 8)}</span> },
    { key: "qty", title: "Quantity", numeric: true, cell: ({ qty }) => <Qty value={qty} /> },
    { key: "price", title: "Lot price", numeric: true, cell: ({ lot_price }) => <Price value={lot_price} /> },
    { key: "pnl", title: "Net P&L", numeric: true, cell: ({ pnl_realized }) => <Money value={pnl_realized} currency={trade.currency} pnl /> },
  ];
  return <Table caption="Lots this execution closed a part of" columns={columns} rows={lots} rowKey={({ lot_id }) => lot_id} />;
}

function Told({ action, message }: { action: Execution; message: OwnMessage | null }): JSX.Element {
  const state = message?.state ?? action.message?.state ?? null;
  const link = discordLink(message?.url ?? action.message?.url ?? null);
  const id = message?.message_id ?? action.message?.message_id ?? null;
  return (
    <>
      <p><MessageState state={state} /> {messageWords(state)}.</p>
      {message !== null && (
        <p class="hint">
          {message.posted_ts !== null && <>posted <When ts={message.posted_ts} date /> · </>}
          {message.proven_ts !== null && <>verified <When ts={message.proven_ts} date /> · </>}
          version {message.posted_version ?? "none"} of {message.wanted_version} posted
        </p>
      )}
      {id !== null && <p class="hint">message <span class="mono">{id}</span></p>}
      {link !== null && <p><a href={link} target="_blank" rel="noopener noreferrer">Open on Discord</a></p>}
    </>
  );
}
