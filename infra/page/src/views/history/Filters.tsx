// The filters of History: beside each other on a desk, in a sheet on a phone. A field takes effect when it is left or Enter is pressed.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Icon } from "../../parts/Icon.tsx";
import { Sheet } from "../../parts/Sheet.tsx";
import { useIsNarrow } from "../narrow.ts";
import { OUTCOMES, sentence, type Field, type Filter } from "./filter.ts";

export type Change = (changes: Readonly<Record<string, string | null>>) => void;

interface Props {
  filter: Filter;
  fields: readonly Field[]; // which ones the tab knows
  change: Change;
}

export function Filters({ filter, fields, change }: Props): JSX.Element | null {
  const isNarrow = useIsNarrow();
  const [isOpen, setOpen] = useState(false);
  if (fields.length === 0) return null;
  const used = fields.filter((field) => filter[field] !== undefined);
  const clear = (): void => change(Object.fromEntries(fields.map((field) => [field, null])));
  const form = <Form filter={filter} fields={fields} change={change} />;
  return (
    <div class="history-filters">
      {isNarrow ? (
        <>
          <button type="button" class="button" onClick={() => setOpen(true)}><Icon name="filter" /> Filters{used.length > 0 && <span class="count">{used.length}</span>}</button>
          <Sheet title="Filters" isOpen={isOpen} close={() => setOpen(false)}>{form}</Sheet>
        </>
      ) : form}
      <p class="hint history-sentence" role="status">
        {sentence(Object.fromEntries(used.map((field) => [field, filter[field]])))}.
        {used.length > 0 && <> <button type="button" class="button quiet small" onClick={clear}>Clear filters</button></>}
      </p>
    </div>
  );
}

interface FieldProps {
  title: string;
  field: Field;
  filter: Filter;
  fields: readonly Field[];
  change: Change;
}

function Form({ filter, fields, change }: Props): JSX.Element {
  const own = { filter, fields, change };
  return (
    <form class="filter-form" onSubmit={(event) => event.preventDefault()}>
      <Text {...own} field="ticker" title="Ticker" />
      <Choice {...own} field="direction" title="Direction" options={["LONG", "SHORT"]} />
      <Choice {...own} field="status" title="Status" options={["open", "closed"]} />
      <Choice {...own} field="outcome" title="Outcome" options={OUTCOMES} />
      <Text {...own} field="reason" title="Reason" />
      <Text {...own} field="tag" title="Tag" />
      <Day {...own} field="from" title="From" />
      <Day {...own} field="to" title="To" />
      <Text {...own} field="min_pnl" title="P&L from" inputMode="decimal" />
      <Text {...own} field="max_pnl" title="P&L to" inputMode="decimal" />
    </form>
  );
}

function Text({ title, field, filter, fields, change, inputMode = "text" }: FieldProps & { inputMode?: "text" | "decimal" }): JSX.Element | null {
  if (!fields.includes(field)) return null;
  const set = (text: string): void => change({ [field]: text.trim() === "" ? null : text.trim() });
  return (
    <label class="field">
      <span>{title}</span>
      <input
        type="text"
        inputMode={inputMode}
        autocomplete="off"
        spellcheck={false}
        value={filter[field] ?? ""}
        {...(field === "ticker" ? { "data-filter": true } : {})}
        onChange={(event) => set(event.currentTarget.value)}
        onKeyDown={(event) => event.key === "Enter" && set(event.currentTarget.value)}
      />
    </label>
  );
}

function Day({ title, field, filter, fields, change }: FieldProps): JSX.Element | null {
  if (!fields.includes(field)) return null;
  return (
    <label class="field">
      <span>{title}</span>
      <input type="date" value={filter[field] ?? ""} onChange={(event) => change({ [field]: event.currentTarget.value === "" ? null : event.currentTarget.value })} />
    </label>
  );
}

function Choice({ title, field, filter, fields, change, options }: FieldProps & { options: readonly string[] }): JSX.Element | null {
  if (!fields.includes(field)) return null;
  return (
    <label class="field">
      <span>{title}</span>
      <select value={filter[field] ?? ""} onChange={(event) => change({ [field]: event.currentTarget.value === "" ? null : event.currentTarget.value })}>
        <option value="">Any</option>
        {options.map((one) => <option key={one} value={one}>{one}</option>)}
      </select>
    </label>
  );
}
