// The delivery log: what should stand on Discord, what does, and every request that was made for it.

import { useState } from "preact/hooks";
import { DiscordLink, Empty, Link, Loaded, More, Pill, Rows, Skeleton, When, spaced, usePages, usePolled, type Column, type Tone } from "../kit";
import type { Delivery, Message } from "./types";

export const TONES: Record<string, Tone> = {
  proven: "good", posted: "good", pending: "info", sending: "info", ambiguous: "warn", dead: "bad", missing: "bad", wrong: "bad", double: "bad", orphan: "bad",
  unverifiable: "warn", suppressed: "quiet", muted: "quiet", removed: "quiet",
};
const STATES = ["pending", "sending", "posted", "ambiguous", "dead", "suppressed", "muted", "removed"];

interface Given {
  params: Record<string, string>;
  onFilter: (more: Record<string, string | null>) => void;
}

/** Messages, newest first, by channel, state and book. */
export function Deliveries({ params, onFilter }: Given) {
  const asked = { channel: params.channel ?? null, state: params.state ?? null, book: params.book ?? null, limit: "50" };
  const found = usePages<Message, { as_of_ts: number; items: Message[] }>("/api/v1/notifications/messages", asked, 30);
  const [opened, setOpened] = useState<string | null>(null);
  const isFiltered = Object.entries(asked).some(([name, value]) => name !== "limit" && value !== null);
  return (
    <>
      <form class="toolbar filters" onSubmit={(event) => event.preventDefault()} aria-label="Filter the delivery log">
        <Choice name="channel" label="Channel" options={["executions", "ops", "lanes"]} chosen={params.channel} onChoose={onFilter} />
        <Choice name="state" label="State" options={STATES} chosen={params.state} onChoose={onFilter} />
        {isFiltered && <button type="button" onClick={() => onFilter({ channel: null, state: null, book: null })}>Clear</button>}
      </form>
      <Loaded of={found} what="the delivery log" skeleton={<Skeleton kind="rows" />}>
        {() =>
          found.items.length === 0 ? (
            <Empty title="No message" hint={isFiltered ? "No message fits the filter." : "A message stands here for each execution that is booked."} />
          ) : (
            <>
              <Rows caption="Messages, newest first" columns={columns(opened, setOpened)} rows={found.items} keyOf={keyOf} opened={opened} detail={(one) => <Attempts of={one} />} />
              <More of={found} />
            </>
          )
        }
      </Loaded>
    </>
  );
}

function Choice({ name, label, options, chosen, onChoose }: { name: string; label: string; options: readonly string[]; chosen: string | undefined; onChoose: (more: Record<string, string | null>) => void }) {
  return (
    <label>{label}{" "}
      <select name={name} data-filter value={chosen ?? ""} onChange={(event) => onChoose({ [name]: event.currentTarget.value || null })}>
        <option value="">all</option>
        {options.map((one) => <option key={one} value={one}>{one}</option>)}
      </select>
    </label>
  );
}

export function keyOf(one: Message): string {
  return `${one.channel_id} ${one.subject_key}`;
}

function columns(opened: string | null, setOpened: (key: string | null) => void): Column<Message>[] {
  return [
    { label: "Message", kind: "head", cell: (one) => (
      <button type="button" class="opener" aria-expanded={opened === keyOf(one)} onClick={() => setOpened(opened === keyOf(one) ? null : keyOf(one))}>{one.title ?? one.subject_key}</button>
    ) },
    { label: "Occurred", cell: (one) => <When ts={one.occurred_ts} date /> },
    { label: "Channel", cell: (one) => one.channel_id },
    { label: "Book", cell: (one) => one.book_id ?? "—" },
    { label: "State", cell: (one) => <State of={one} /> },
    { label: "Version", cell: (one) => (one.posted_version === one.wanted_version ? `${one.wanted_version}` : `${one.posted_version ?? "none"} posted, ${one.wanted_version} wanted`) },
    { label: "Posted", cell: (one) => <When ts={one.posted_ts} date /> },
    { label: "Tries", kind: "number", cell: (one) => one.attempts },
    { label: "Look", cell: (one) => <Look of={one} /> },
  ];
}

/** What is known of a message: a finding of the last check comes before its state. */
export function State({ of }: { of: Message }) {
  const word = of.state === "posted" ? (of.last_finding ?? (of.proven_ts === null ? "posted" : "proven")) : of.state;
  return <Pill tone={TONES[word] ?? "warn"} title={of.dead_reason === null ? undefined : spaced(of.dead_reason)}>{spaced(word)}</Pill>;
}

function Look({ of }: { of: Message }) {
  return (
    <>
      {of.position_id !== null && <Link to={`positions/${of.position_id}`} params={{}}>position</Link>}{" "}
      <DiscordLink url={of.message_url}>on Discord</DiscordLink>
    </>
  );
}

const ATTEMPTS: Column<Delivery>[] = [
  { label: "Request", kind: "head", cell: (one) => one.operation },
  { label: "At", cell: (one) => <When ts={one.started_ts} date /> },
  { label: "Status", kind: "number", tone: (one) => (one.http_status !== null && one.http_status < 300 ? undefined : "warn"), cell: (one) => (one.http_status ?? "no answer") + (one.discord_code === null ? "" : ` (${one.discord_code})`) },
  { label: "Told to wait", kind: "number", cell: (one) => (one.retry_after_seconds === null ? "—" : `${one.retry_after_seconds} s`) },
  { label: "Took", kind: "number", cell: (one) => (one.finished_ts === null ? "—" : `${one.finished_ts - one.started_ts} ms`) },
  { label: "Error", kind: "words", cell: (one) => (one.error === null ? "—" : spaced(one.error)) },
];

function Attempts({ of }: { of: Message }) {
  const found = usePolled<{ items: Delivery[] }>("/api/v1/notifications/deliveries", { channel: of.channel_id, subject: of.subject_key }, 30);
  return (
    <Loaded of={found} what="requests" skeleton={<Skeleton kind="lines" />}>
      {(answer) => (answer.items.length === 0 ? <p class="hint">No request was made for this message yet.</p> : <Rows caption="Requests for this message" columns={ATTEMPTS} rows={answer.items} keyOf={(one) => one.attempt_id} />)}
    </Loaded>
  );
}
