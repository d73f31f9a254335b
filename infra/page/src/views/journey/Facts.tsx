// What a link of the why-trace says: its figures by name, the rules it compared, and those that stood in the way.
import type { ComponentChildren, JSX } from "preact";
import { isDecimal } from "../../lib/decimal.ts";
import { HIDDEN, usePrivacy } from "../../lib/privacy.ts";
import { Money } from "../../parts/Money.tsx";
import { Price } from "../../parts/Price.tsx";
import { Qty } from "../../parts/Qty.tsx";
import { Table, type Column } from "../../parts/Table.tsx";
import { When } from "../../parts/When.tsx";
import { sentence } from "../../parts/words.ts";
import { comparedOf, factText, type Compared, type Fact, type FactsOf } from "./why.ts";

const MONEY: ReadonlySet<string> = new Set(["value", "fees", "pnl_realized"]);
const PRICES: ReadonlySet<string> = new Set(["price", "lot_price"]);
// shown in a form of their own, or said already
const ELSEWHERE: ReadonlySet<string> = new Set(["inputs", "compared", "block_reasons", "currency", "reason", "url", "display"]);
const SECRET: ReadonlySet<string> = new Set(["book_id", "source_id"]);

const COLUMNS: readonly Column<Compared>[] = [
  { key: "rule", title: "Rule", heading: true, cell: ({ rule }) => <span class="mono">{rule}</span> },
  { key: "value", title: "Value", numeric: true, cell: ({ value }) => value },
  { key: "limit", title: "Compared with", numeric: true, cell: ({ op, limit }) => `${op} ${limit}` },
  { key: "holds", title: "Holds", cell: ({ holds }) => (holds ? "yes" : "no") },
];

export function Facts({ facts }: { facts: FactsOf }): JSX.Element {
  const isHidden = usePrivacy();
  const currency = typeof facts["currency"] === "string" ? facts["currency"] : null;
  const names = Object.keys(facts).filter((name) => !ELSEWHERE.has(name) && !name.endsWith("_at") && factText(facts[name]) !== "");
  const blocks = Array.isArray(facts["block_reasons"]) ? (facts["block_reasons"] as readonly Fact[]) : [];
  const compared = comparedOf(facts["compared"]);
  const published = facts["display"];
  return (
    <>
      <dl class="why-facts">
        {published !== undefined && <Named name="Published">{isHidden && facts["unit"] !== "%" ? HIDDEN : factText(published)}</Named>}
        {names.filter((name) => published === undefined || name !== "value").map((name) => (
          <Named key={name} name={title(name)}>{isHidden && SECRET.has(name) ? HIDDEN : shown(name, facts[name], currency)}</Named>
        ))}
      </dl>
      {!isHidden && <Inputs of={facts["inputs"]} />}
      {compared.length > 0 && <Table caption="Rules compared" columns={COLUMNS} rows={compared} rowKey={(row) => `${row.rule}/${row.op}/${row.limit}`} />}
      {blocks.length > 0 && (
        <>
          <p class="hint">Rules that did not fire:</p>
          <ul class="why-blocks">{blocks.map((block, number) => <li key={number}>{factText((block as FactsOf)["text"])} <span class="mono hint">{factText((block as FactsOf)["code"])}</span></li>)}</ul>
        </>
      )}
    </>
  );
}

// what the rules compared, by name
function Inputs({ of }: { of: Fact | undefined }): JSX.Element | null {
  if (of === null || of === undefined || typeof of !== "object" || Array.isArray(of)) return null;
  const inputs = Object.entries(of as FactsOf);
  if (inputs.length === 0) return null;
  return (
    <>
      <p class="hint">Inputs:</p>
      <dl class="why-facts why-inputs">{inputs.map(([name, value]) => <Named key={name} name={sentence(name)}>{factText(value) || "unknown"}</Named>)}</dl>
    </>
  );
}

function Named({ name, children }: { name: string; children: ComponentChildren }): JSX.Element {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function title(name: string): string {
  return sentence(name.replace(/_ts$/, "")).replace("Qty", "Quantity").replace("Pnl realized", "Net P&L");
}

function shown(name: string, fact: Fact | undefined, currency: string | null): ComponentChildren {
  if (name.endsWith("_ts") && typeof fact === "number") return <When ts={fact} date />;
  if (isDecimal(fact)) {
    if (name === "qty") return <Qty value={fact} />;
    if (PRICES.has(name)) return <Price value={fact} />;
    if (MONEY.has(name)) return <Money value={fact} currency={currency} pnl={name === "pnl_realized"} />;
  }
  return factText(fact);
}
