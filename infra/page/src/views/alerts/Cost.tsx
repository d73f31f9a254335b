// What the desk costs: a counted day by function, what a month of such days costs, and plainly that nobody counted where nobody did.
import type { JSX } from "preact";
import type { Cost as Answer, CostFunction } from "../../api/types.ts";
import { formatted, NONE } from "../../lib/decimal.ts";
import { usePolled } from "../../lib/poll.ts";
import { column, heading, numeric } from "../../parts/columns.ts";
import { Empty } from "../../parts/Empty.tsx";
import { Loaded } from "../../parts/Loaded.tsx";
import { Table } from "../../parts/Table.tsx";
import { When } from "../../parts/When.tsx";

const dollars = (text: string | null): string => (text === null ? NONE : `$${formatted(text, { least: 2 })}`);
const size = (bytes: number | null): string => (bytes === null ? NONE : `${formatted(String(bytes / 1e6))} MB`);

const COLUMNS = [
  heading<CostFunction>("Function", (one) => one.function),
  numeric<CostFunction>("Requests", (one) => one.requests),
  numeric<CostFunction>("In work", (one) => `${formatted(one.billed_seconds, { most: 1 })} s`),
  numeric<CostFunction>("Processor", (one) => (one.processor_seconds === null ? NONE : `${formatted(one.processor_seconds, { most: 1 })} s`)),
  numeric<CostFunction>("Memory", (one) => size(one.peak_bytes)),
  numeric<CostFunction>("Logs", (one) => size(one.log_bytes)),
  column<CostFunction>("A month", (one) => dollars(one.month)),
];

export function Cost(): JSX.Element {
  const found = usePolled<Answer>("/timed/cost");
  return (
    <Loaded of={found}>
      {({ day, functions, prices, month, idle_month: idle, is_simulated: isFast, counted_until_ts: until, database }) =>
        functions === null || prices === null ? (
          <Empty title="Unknown here">Nobody counts what this desk uses. On a machine of its own the local cloud does; in a cloud the bill itself says it.</Empty>
        ) : (
          <>
            <p>A month of 21 days like {day}: <strong class="num">{dollars(month)}</strong>, and <span class="num">{dollars(idle)}</span> when nobody trades.</p>
            <Table caption="What each function used that day" columns={COLUMNS} rows={functions} rowKey={(one) => one.function} />
            <p class="hint">
              Counted until <When ts={until} />{isFast === true && ", on a clock faster than the wall"}. Database: {database === null ? NONE : `${formatted(String(database.rows_written))} rows written, ${size(database.size_bytes)} larger`}. The month is computed from a {prices.source} of {prices.as_of}.
            </p>
          </>
        )
      }
    </Loaded>
  );
}
