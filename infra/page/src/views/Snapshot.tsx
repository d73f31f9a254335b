// Snapshot: the trading day as it was published. Nothing is computed here: texts, numbers and reasons are the publisher's.
import type { JSX } from "preact";
import { useRows } from "../lib/list.ts";
import { usePolled } from "../lib/poll.ts";
import { Link, useFilters } from "../lib/router.tsx";
import { Age } from "../parts/Age.tsx";
import { Card } from "../parts/Card.tsx";
import { column, heading, numeric } from "../parts/columns.ts";
import { Empty } from "../parts/Empty.tsx";
import { Hash } from "../parts/Hash.tsx";
import { Loaded } from "../parts/Loaded.tsx";
import { Skeleton } from "../parts/Skeleton.tsx";
import { Table, type Column } from "../parts/Table.tsx";
import { When } from "../parts/When.tsx";
import { Dates, Stage } from "./snapshot/Dates.tsx";
import { Detail } from "./snapshot/Detail.tsx";
import { Kpis } from "./snapshot/Kpis.tsx";
import { Restatements } from "./snapshot/Restatements.tsx";
import type { Health } from "../api/types.ts";
import type { Asset, DayNamed, Published, PublishedDates, PublishedDay } from "./snapshot/types.ts";
import "./common.css";
import "./snapshot.css";

export default function Snapshot(): JSX.Element {
  const [params, change] = useFilters();
  const { date = null, kpi = null } = params as { date?: string; kpi?: string };
  const days = useRows<DayNamed, PublishedDates>({ path: "/timed/snapshot/dates", step: 30, most: 400, rows: ({ items }) => items });
  const found = usePolled<Published>("/timed/snapshot", { date });
  const health = usePolled<Health>("/timed/health");
  const choose = (name: string | null): void => change({ kpi: name });
  return (
    <div class="stack">
      <Loaded of={days} skeleton={<Skeleton kind="table" rows={2} />}>
        {() => (days.rows.length === 0 ? null : <Dates days={days.rows} chosen={found.data?.snapshot?.date ?? date} kpi={kpi} more={days.more} freshness={health.data?.snapshot ?? null} />)}
      </Loaded>
      {found.error?.code === "no_snapshot" ? (
        <Empty title={`Nothing is published for ${date ?? "any day"}`}><Link to="/app/snapshot">Show the newest published day</Link></Empty>
      ) : (
        <Loaded of={found} skeleton={<Skeleton kind="cards" rows={10} />}>
          {({ snapshot }) =>
            snapshot === null ? (
              <Empty title="No published day">A day stands here after it was published: at 09:00, 12:30 and 16:30 New York of a session. A key that does not see every book of a day does not see the day.</Empty>
            ) : (
              <Day of={snapshot} kpi={kpi} choose={choose} />
            )
          }
        </Loaded>
      )}
    </div>
  );
}

const ASSETS: readonly Column<Asset>[] = [
  heading("Contract", (one) => one.contract_name),
  column("Symbol", (one) => one.symbol ?? "—"),
  numeric("Trade", (one) => <span class="mono">{one.trade_id}</span>),
];

function Day({ of, kpi, choose }: { of: PublishedDay; kpi: string | null; choose: (kpi: string | null) => void }): JSX.Element {
  const chosen = of.kpis.find((one) => one.kpi === kpi) ?? null;
  return (
    <>
      <Card title={of.headline || `Figures of ${of.date}`} hint={<Proof of={of} />}>
        {of.summary !== "" && <p class="summary">{of.summary}</p>}
        <Kpis kpis={of.kpis} version={of.kpi_version} chosen={kpi} choose={choose} />
        {chosen !== null && <Detail date={of.date} kpi={chosen} close={() => choose(null)} />}
      </Card>
      <div class="beside snapshot-more">
        <Card title={<>Portfolio assets <span class="count">{of.assets.length}</span></>} hint="Positions that were open when the day was valued.">
          {of.assets.length === 0 ? <Empty title="No open position">Nothing was open when the day was valued.</Empty> : <div class="tall"><Table caption="Positions open when the day was valued" columns={ASSETS} rows={of.assets} rowKey={(one) => `${one.trade_id} ${one.contract_name}`} /></div>}
        </Card>
        <Card title="Restatements" hint="What a later version of a final day changed.">
          <Restatements key={of.date} date={of.date} />
        </Card>
      </div>
    </>
  );
}

// How it was published: stage, version, how the publication ended, of when the data are, and the hash of what was sent.
function Proof({ of }: { of: PublishedDay }): JSX.Element {
  const end = of.publication;
  const verified = end === null || end.verified === null ? "" : end.verified ? ", verified" : ", not verified";
  return (
    <span class="proof">
      <Stage of={of.stage} /> version {of.version} · <span class={end?.verified === false ? "late" : undefined}>{end === null ? "published elsewhere" : end.status.replaceAll("_", " ")}{verified}</span>{" "}
      <Age ts={of.received_ts} /> · data of <When ts={of.updated_ts} date /> · SHA-256 <Hash of={of.content_sha256} />
    </span>
  );
}
