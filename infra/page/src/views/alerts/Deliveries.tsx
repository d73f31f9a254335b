// The delivery log: what should stand on Discord, what does, and every request that was made for it.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { useRows } from "../../lib/list.ts";
import { usePolled } from "../../lib/poll.ts";
import { Link, type Params } from "../../lib/router.tsx";
import { Book } from "../../parts/Book.tsx";
import { column, heading, numeric } from "../../parts/columns.ts";
import { Empty } from "../../parts/Empty.tsx";
import { Loaded } from "../../parts/Loaded.tsx";
import { More } from "../../parts/More.tsx";
import { Opener } from "../../parts/Opener.tsx";
import { Pill } from "../../parts/Pill.tsx";
import { Skeleton } from "../../parts/Skeleton.tsx";
import { Table, type Column } from "../../parts/Table.tsx";
import { When } from "../../parts/When.tsx";
import type { Deliveries as Log, Delivery, Message, Messages } from "./types.ts";
import { Title } from "./Title.tsx";
import { CHANNELS, spaced, STATES, toneOf } from "./words.ts";

interface Props {
  params: Params;
  change: (changes: Record<string, string | null>) => void;
}

export function Deliveries({ params, change }: Props): JSX.Element {
  const { channel = null, state = null } = params as { channel?: string; state?: string };
  const found = useRows<Message, Messages>({ path: "/api/v1/notifications/messages", params: { channel, state }, step: 30, most: 500, rows: ({ messages }) => messages });
  const [opened, setOpened] = useState<string | null>(null);
  const turn = (key: string): void => setOpened(opened === key ? null : key);
  const isFiltered = channel !== null || state !== null;
  return (
    <>
      <form class="toolbar" onSubmit={(event) => event.preventDefault()} aria-label="Filter the delivery log">
        <Choice name="channel" label="Channel" options={CHANNELS} chosen={channel} choose={(value) => change({ channel: value })} />
        <Choice name="state" label="State" options={STATES} chosen={state} choose={(value) => change({ state: value })} />
        {isFiltered && <button type="button" class="button quiet" onClick={() => change({ channel: null, state: null })}>Clear</button>}
      </form>
      <Loaded of={found} skeleton={<Skeleton kind="table" rows={8} />}>
        {() =>
          found.rows.length === 0 ? (
            <Empty title="No message">{isFiltered ? "No message fits the filter." : "A message stands here for each execution that is booked."}</Empty>
          ) : (
            <>
              <Table caption="Messages, newest first" columns={columns(opened, turn)} rows={found.rows} rowKey={keyOf} detail={(one) => (opened === keyOf(one) ? <Attempts of={one} /> : null)} />
              <More of={found} />
            </>
          )
        }
      </Loaded>
    </>
  );
}

interface ChoiceProps {
  name: string;
  label: string;
  options: readonly string[];
  chosen: string | null;
  choose: (value: string | null) => void;
}

function Choice({ name, label, options, chosen, choose }: ChoiceProps): JSX.Element {
  return (
    <label class="row">
      <span class="hint">{label}</span>
      <select name={name} data-filter value={chosen ?? ""} onChange={(event) => choose(event.currentTarget.value === "" ? null : event.currentTarget.value)}>
        <option value="">all</option>
        {options.map((one) => <option key={one} value={one}>{one}</option>)}
      </select>
    </label>
  );
}

export function keyOf(one: Message): string {
  return `${one.channel_id} ${one.subject_key}`;
}

function columns(opened: string | null, turn: (key: string) => void): Column<Message>[] {
  return [
    heading("Message", (one) => <Opener isOpen={opened === keyOf(one)} turn={() => turn(keyOf(one))}><Title of={one} /></Opener>),
    column("State", (one) => <State of={one} />),
    column("Occurred", (one) => <When ts={one.occurred_ts} date />),
    column("Channel", (one) => one.channel_id),
    column("Book", (one) => <Book id={one.book_id} />),
    column("Version", version),
    column("Posted", (one) => <When ts={one.posted_ts} date />),
    numeric("Failed tries", (one) => one.attempts),
    column("Look", (one) => <Look of={one} />),
  ];
}

function version(one: Message): string {
  return one.posted_version === one.wanted_version ? `${one.wanted_version}` : `${one.posted_version ?? "none"} posted, ${one.wanted_version} wanted`;
}

export function State({ of }: { of: Message }): JSX.Element {
  return <span><Pill tone={toneOf(of.state)}>{of.state}</Pill>{of.dead_reason !== null && of.state === "dead" && <small class="hint"> {spaced(of.dead_reason)}</small>}</span>;
}

function Look({ of }: { of: Message }): JSX.Element {
  const isDiscord = of.url?.startsWith("https://discord.com/") === true;
  return (
    <span class="row">
      {of.position_id !== null && <Link to={`/app/positions/${of.position_id}`} params={{ books: of.book_id }}>Position</Link>}
      {isDiscord && of.url !== null && <a href={of.url} target="_blank" rel="noopener noreferrer">Discord</a>}
      {of.position_id === null && !isDiscord && <span class="unknown">—</span>}
    </span>
  );
}

const ATTEMPTS: readonly Column<Delivery>[] = [
  heading("Request", (one) => one.operation),
  column("At", (one) => <When ts={one.started_ts} date />),
  numeric("Answer", (one) => <span class={one.http_status !== null && one.http_status < 300 ? undefined : "late"}>{one.http_status ?? "none"}{one.discord_code === null ? "" : ` (${one.discord_code})`}</span>),
  numeric("Told to wait", (one) => (one.wait_seconds === null ? "—" : `${one.wait_seconds} s`)),
  numeric("Took", (one) => (one.finished_ts === null ? "—" : `${one.finished_ts - one.started_ts} ms`)),
  column("Error", (one) => <span class="words">{one.error === null ? "—" : spaced(one.error)}</span>),
];

// Requests of an execution are found by it; those of the desk's own troubles by their channel, from the trouble's beginning on.
function Attempts({ of }: { of: Message }): JSX.Element {
  const about = of.action_id === null ? { since: String(of.created_ts) } : { action_id: of.action_id };
  const found = usePolled<Log>("/api/v1/notifications/deliveries", { channel: of.channel_id, limit: "500", ...about });
  return (
    <Loaded of={found} skeleton={<Skeleton rows={2} />}>
      {({ deliveries }) => {
        const own = deliveries.filter(({ subject_key }) => subject_key === of.subject_key);
        return own.length === 0 ? <p class="hint">No request was made for this message yet.</p> : <Table caption="Requests for this message, newest first" showCaption columns={ATTEMPTS} rows={own} rowKey={(one) => one.attempt_id} />;
      }}
    </Loaded>
  );
}
