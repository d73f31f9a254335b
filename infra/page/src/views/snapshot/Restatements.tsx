// What was published otherwise before: the old figure, the new one, the difference, and the late executions that are the cause.

import { Empty, Loaded, Published, Rows, Signed, Skeleton, When, usePolled, type Column } from "../kit";
import type { Restatement } from "./types";

/** The restatements of a day, newest first. */
export function Restatements({ date }: { date: string }) {
  const found = usePolled<{ items: Restatement[] }>("/timed/snapshot/restatements", { date }, 30);
  return (
    <Loaded of={found} what="restatements" skeleton={<Skeleton kind="lines" />}>
      {(answer) =>
        answer.items.length === 0 ? (
          <Empty title="Not restated" hint="This day's final figures stand as they were first published." />
        ) : (
          <Rows caption="What was restated, newest first" columns={COLUMNS} rows={answer.items} keyOf={(one) => `${one.version} ${one.subject} ${one.name}`} />
        )
      }
    </Loaded>
  );
}

const COLUMNS: Column<Restatement>[] = [
  { label: "Figure", kind: "head", cell: (one) => (one.subject === "kpi" ? one.name : `${one.name} (${one.subject.replaceAll("_", " ")})`) },
  { label: "Version", cell: (one) => `${one.version - 1} → ${one.version}` },
  { label: "Published before", kind: "number", cell: (one) => <del><Published text={one.old_text ?? "—"} /></del> },
  { label: "Published now", kind: "number", cell: (one) => <ins><Published text={one.new_text ?? "—"} /></ins> },
  { label: "Difference", kind: "number", cell: (one) => <Signed text={one.difference} /> },
  { label: "Cause", kind: "words", cell: cause },
  { label: "Restated", cell: (one) => <When ts={one.recorded_ts} date /> },
];

function cause(one: Restatement) {
  if (one.late_actions.length === 0) return "no late execution; a price or a correction came later";
  return one.late_actions.slice(0, 3).map((late) => `${late.ticker ?? ""} ${late.action_type ?? "execution"} ${late.action_id.slice(0, 8)}`.trim()).join(", ")
    + (one.late_actions.length > 3 ? ` and ${one.late_actions.length - 3} more` : "") + " recorded after publication";
}
