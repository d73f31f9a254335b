// Dead letters by reason: how many, since when, and what a person does about them.

import { Age, Copy, Empty, Loaded, Rows, Skeleton, When, spaced, usePolled, type Column } from "../kit";
import type { DeadLetters, Message } from "./types";

const COLUMNS: Column<Message>[] = [
  { label: "Message", kind: "head", cell: (one) => one.title ?? one.subject_key },
  { label: "Channel", cell: (one) => one.channel_id },
  { label: "Book", cell: (one) => one.book_id ?? "—" },
  { label: "Reason", cell: (one) => spaced(one.dead_reason ?? "unknown") },
  { label: "Tries", kind: "number", cell: (one) => one.attempts },
  { label: "Occurred", cell: (one) => <When ts={one.occurred_ts} date /> },
];

/** Groups with their remedy, then the letters themselves. */
export function Dead() {
  const found = usePolled<DeadLetters & { as_of_ts: number }>("/api/v1/notifications/dead-letters", {}, 30);
  return (
    <Loaded of={found} what="dead letters" skeleton={<Skeleton kind="rows" />}>
      {(answer) =>
        answer.groups.length === 0 ? (
          <Empty title="No dead letter" hint="Messages that Discord will not take, and those that met too many failures, stand here with what to do about them." />
        ) : (
          <>
            <ul class="groups">
              {answer.groups.map((one) => (
                <li key={one.reason} class="panel">
                  <h3>{spaced(one.reason)} <span class="count">· {one.count}</span></h3>
                  <p class="hint">oldest <Age ts={one.oldest_ts} now={answer.as_of_ts} /></p>
                  <Copy text={one.remedy} label="Remedy" />
                </li>
              ))}
            </ul>
            <Rows caption="Dead letters" columns={COLUMNS} rows={answer.items} keyOf={(one) => `${one.channel_id} ${one.subject_key}`} />
          </>
        )
      }
    </Loaded>
  );
}
