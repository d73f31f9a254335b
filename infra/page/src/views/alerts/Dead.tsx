// Dead letters by reason: how many, since when, and what a person does about them.
import type { JSX } from "preact";
import { useRows } from "../../lib/list.ts";
import { Age } from "../../parts/Age.tsx";
import { Book } from "../../parts/Book.tsx";
import { column, heading, numeric } from "../../parts/columns.ts";
import { Copy } from "../../parts/Copy.tsx";
import { Empty } from "../../parts/Empty.tsx";
import { Loaded } from "../../parts/Loaded.tsx";
import { More } from "../../parts/More.tsx";
import { Skeleton } from "../../parts/Skeleton.tsx";
import { Table, type Column } from "../../parts/Table.tsx";
import { When } from "../../parts/When.tsx";
import { keyOf } from "./Deliveries.tsx";
import type { DeadLetters, Message } from "./types.ts";
import { Title } from "./Title.tsx";
import { spaced } from "./words.ts";

const COLUMNS: readonly Column<Message>[] = [
  heading("Message", (one) => <Title of={one} />),
  column("Reason", (one) => spaced(one.dead_reason ?? "unknown")),
  column("Channel", (one) => one.channel_id),
  column("Book", (one) => <Book id={one.book_id} />),
  numeric("Failed tries", (one) => one.attempts),
  column("Occurred", (one) => <When ts={one.occurred_ts} date />),
];

// Groups with their remedy, then the letters themselves.
export function Dead(): JSX.Element {
  const found = useRows<Message, DeadLetters>({ path: "/api/v1/notifications/dead-letters", step: 50, most: 500, rows: ({ messages }) => messages });
  return (
    <Loaded of={found} skeleton={<Skeleton kind="table" rows={4} />}>
      {({ groups }) =>
        groups.length === 0 ? (
          <Empty title="No dead letter">Messages that Discord will not take, and those that met too many failures, stand here with what to do about them.</Empty>
        ) : (
          <div class="stack">
            <ul class="groups">
              {groups.map((one) => (
                <li key={`${one.channel_id} ${one.reason}`} class="panel stack">
                  <h3>{spaced(one.reason)} <span class="count">{one.count}</span> <span class="hint">in {one.channel_id}, oldest <Age ts={one.oldest_ts} /></span></h3>
                  <p>{one.remedy.text}</p>
                  <Copy text={one.remedy.command} label="Copy the command" />
                </li>
              ))}
            </ul>
            <Table caption="Dead letters, newest first" columns={COLUMNS} rows={found.rows} rowKey={keyOf} />
            <More of={found} />
          </div>
        )
      }
    </Loaded>
  );
}
