// Checks of what stands on Discord against the ledger: runs with their counts, each finding field by field.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { useRows } from "../../lib/list.ts";
import { CALM_SECONDS } from "../../lib/poll.ts";
import { column, heading, numeric } from "../../parts/columns.ts";
import { Empty } from "../../parts/Empty.tsx";
import { Loaded } from "../../parts/Loaded.tsx";
import { More } from "../../parts/More.tsx";
import { Opener } from "../../parts/Opener.tsx";
import { Pill } from "../../parts/Pill.tsx";
import { Skeleton } from "../../parts/Skeleton.tsx";
import { Table, type Column } from "../../parts/Table.tsx";
import { When } from "../../parts/When.tsx";
import { Findings } from "./Findings.tsx";
import { Start } from "./Start.tsx";
import type { Proof, Proofs } from "./types.ts";
import { FOUND, spaced, toneOf } from "./words.ts";

const BUSY_SECONDS = 3; // while a check is under way
const BUSY: ReadonlySet<string> = new Set(["queued", "running"]);

interface Props {
  isAdmin: boolean;
  chosen: string | null;
  choose: (run: string | null) => void;
}

export function Checks({ isAdmin, chosen, choose }: Props): JSX.Element {
  const [isBusy, setBusy] = useState(false);
  const found = useRows<Proof, Proofs>({ path: "/api/v1/notifications/reconciliation", step: 25, most: 500, rows: ({ runs }) => runs, seconds: isBusy ? BUSY_SECONDS : CALM_SECONDS });
  useEffect(() => setBusy(found.rows.some(({ status }) => BUSY.has(status))), [found.rows]);
  const detail = (one: Proof): JSX.Element | null => (one.run_id === chosen ? <Findings run={one} seconds={BUSY.has(one.status) ? BUSY_SECONDS : CALM_SECONDS} /> : null);
  return (
    <div class="stack">
      <Start isAdmin={isAdmin} onStarted={found.refresh} />
      <Loaded of={found} skeleton={<Skeleton kind="table" rows={6} />}>
        {() =>
          found.rows.length === 0 ? (
            <Empty title="No check yet">Messages are checked every hour and after the close; each check stands here with what it found.</Empty>
          ) : (
            <>
              <Table caption="Checks, newest first" columns={columns(chosen, choose)} rows={found.rows} rowKey={(one) => one.run_id} detail={detail} />
              <More of={found} />
            </>
          )
        }
      </Loaded>
    </div>
  );
}

function columns(chosen: string | null, choose: (run: string | null) => void): Column<Proof>[] {
  return [
    heading("Check", (one) => <Opener isOpen={one.run_id === chosen} turn={() => choose(one.run_id === chosen ? null : one.run_id)}><When ts={one.started_ts ?? one.queued_ts} date /></Opener>),
    column("Status", (one) => <span><Pill tone={toneOf(one.status)}>{one.status}</Pill>{one.reason !== null && <small class="hint"> {spaced(one.reason)}</small>}</span>),
    column("Channel", (one) => one.channel_id),
    column("Window", (one) => <span class="span"><When ts={one.since_ts} date seconds={false} zone={false} /> – <When ts={one.until_ts} date seconds={false} /></span>),
    numeric("Equal", (one) => `${one.counts.equal} of ${one.counts.actions}`),
    column("Found", (one) => <span class={found(one) === "nothing" ? undefined : "old"}>{found(one)}</span>),
    numeric("Repaired", (one) => (one.is_repairing ? one.counts.repaired : "not asked for")),
    column("Asked by", (one) => one.requested_by),
  ];
}

function found({ counts }: Proof): string {
  return FOUND.filter((kind) => counts[kind] > 0).map((kind) => `${counts[kind]} ${kind}`).join(", ") || "nothing";
}
