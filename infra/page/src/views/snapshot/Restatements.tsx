// What was published otherwise before: the old figure, the new one, the difference, and the late executions that are the cause.
import type { JSX } from "preact";
import { useRows } from "../../lib/list.ts";
import { HIDDEN, usePrivacy } from "../../lib/privacy.ts";
import { formatted, NONE, sign, type Decimal } from "../../lib/decimal.ts";
import { column, heading, numeric } from "../../parts/columns.ts";
import { Empty } from "../../parts/Empty.tsx";
import { Loaded } from "../../parts/Loaded.tsx";
import { More } from "../../parts/More.tsx";
import { Skeleton } from "../../parts/Skeleton.tsx";
import { Table, type Column } from "../../parts/Table.tsx";
import { When } from "../../parts/When.tsx";
import { Published } from "./Published.tsx";
import type { LateAction, Restated, Restatement } from "./types.ts";

const CAUSES_SHOWN = 3;

export function Restatements({ date }: { date: string }): JSX.Element {
  const found = useRows<Restatement, Restated>({ path: "/timed/snapshot/restatements", params: { date }, step: 100, most: 500, rows: ({ items }) => items });
  return (
    <Loaded of={found} skeleton={<Skeleton rows={2} />}>
      {() =>
        shown(found.rows).length === 0 ? (
          <Empty title="Not restated">The final figures of this day stand as they were first published.</Empty>
        ) : (
          <>
            <Table caption="What was restated, newest first" columns={COLUMNS} rows={shown(found.rows)} rowKey={(one) => `${one.version} ${one.subject} ${one.name}`} />
            <More of={found} />
          </>
        )
      }
    </Loaded>
  );
}

// Parts whose number of items stayed are no news.
function shown(rows: readonly Restatement[]): readonly Restatement[] {
  return rows.filter(({ subject, difference }) => subject === "kpi" || difference === null || sign(difference) !== 0);
}

const COLUMNS: readonly Column<Restatement>[] = [
  heading("Figure", (one) => (one.subject === "kpi" ? one.name : `${one.name}, items`)),
  column("Version", (one) => `${one.version - 1} → ${one.version}`),
  numeric("Before", (one) => <del class="num"><Published text={one.old_text ?? one.old_num ?? NONE} kind={one.subject === "kpi" ? null : "number"} /></del>),
  numeric("Now", (one) => <ins class="num"><Published text={one.new_text ?? one.new_num ?? NONE} kind={one.subject === "kpi" ? null : "number"} /></ins>),
  numeric("Difference", (one) => <Difference value={one.difference} />),
  column("Cause", (one) => <span class="words">{cause(one)}</span>),
  column("Restated", (one) => <When ts={one.recorded_ts} date seconds={false} />),
];

// The unit is that of the texts beside it; a difference may be one of money, so privacy hides it.
function Difference({ value }: { value: Decimal | null }): JSX.Element {
  const isHidden = usePrivacy();
  if (isHidden) return <span class="hidden-amount">{HIDDEN}</span>;
  return <span class="num">{value === null ? NONE : formatted(value, { least: 0, most: 4, signed: true })}</span>;
}

function cause(one: Restatement): string {
  const late = (one.late_actions ?? []) as LateAction[];
  if (late.length === 0) return "no late execution: a price or a correction came later";
  const named = late.slice(0, CAUSES_SHOWN).map(({ symbol, action_type, action_id }) => [symbol, action_type, action_id?.slice(0, 8)].filter((part) => part !== undefined).join(" "));
  const rest = late.length > CAUSES_SHOWN ? ` and ${late.length - CAUSES_SHOWN} more` : "";
  return `${named.join(", ")}${rest}, recorded after publication`;
}
