// Snapshot: the trading day as it was published. Nothing is computed here; texts, numbers and reasons are the publisher's.

import "./snapshot.css";
import { Age, Empty, Hash, Loaded, Pill, Rows, Section, Skeleton, navigate, usePages, usePolled, useRoute, type Column } from "./kit";
import { Dates } from "./snapshot/Dates";
import { Detail } from "./snapshot/Detail";
import { Kpis } from "./snapshot/Kpis";
import { Restatements } from "./snapshot/Restatements";
import type { Asset, PublishedDay, Snapshot as Day } from "./snapshot/types";
import { STAGES } from "./snapshot/words";

interface Answer {
  as_of_ts: number;
  snapshot: Day | null;
}

export default function Snapshot() {
  const { params } = useRoute();
  const dates = usePages<PublishedDay, { items: PublishedDay[]; freshness: { status: string } | null }>("/timed/snapshot/dates", { limit: "30" }, 30);
  const found = usePolled<Answer>("/timed/snapshot", { date: params.date ?? null }, 30);
  const day = found.data?.snapshot ?? null;
  const chosen = day?.kpis.find((one) => one.kpi === params.kpi) ?? null;
  const choose = (kpi: string | null) => navigate("snapshot", { ...params, kpi }, { replace: true });

  return (
    <>
      <Section id="dates" title="Published days">
        <Loaded of={dates} what="published days" skeleton={<Skeleton kind="strip" />}>
          {(answer) => <Dates days={dates.items} chosen={day?.date ?? params.date ?? null} freshness={answer.freshness?.status ?? null} hasMore={dates.hasMore} onMore={dates.more} />}
        </Loaded>
      </Section>
      <Loaded of={found} what="the published day" skeleton={<Skeleton kind="cards" />}>
        {(answer) =>
          answer.snapshot === null ? (
            <Empty title="No published day" hint="A day stands here after snapshot_publisher has published it: at 09:00, 12:30 and 16:30 New York of a session." />
          ) : (
            <Published day={answer.snapshot} now={answer.as_of_ts} chosen={params.kpi ?? null} onChoose={choose}>
              {chosen !== null && <Detail date={answer.snapshot.date} kpi={chosen} onClose={() => choose(null)} />}
            </Published>
          )
        }
      </Loaded>
    </>
  );
}

const ASSETS: Column<Asset>[] = [
  { label: "Contract", kind: "head", cell: (one) => one.contract_name },
  { label: "Symbol", cell: (one) => one.symbol ?? "—" },
  { label: "Trade", kind: "number", cell: (one) => <code>{one.trade_id}</code> },
];

function Published({ day, now, chosen, onChoose, children }: { day: Day; now: number; chosen: string | null; onChoose: (kpi: string | null) => void; children: preact.ComponentChildren }) {
  return (
    <>
      <Section id="day" title={day.headline || `Figures of ${day.date}`} note={<Proof of={day} now={now} />}>
        {day.summary && <p>{day.summary}</p>}
        <Kpis kpis={day.kpis} version={day.kpi_version} chosen={chosen} onChoose={onChoose} />
        {children}
      </Section>
      <Section id="assets" title="Portfolio assets" count={day.assets.length}>
        {day.assets.length === 0 ? (
          <Empty title="No open position" hint="Nothing was open when the day was valued." />
        ) : (
          <Rows caption="Positions open when the day was valued" columns={ASSETS} rows={day.assets} keyOf={(one) => `${one.trade_id} ${one.contract_name}`} />
        )}
      </Section>
      <Section id="restatements" title="Restatements"><Restatements key={day.date} date={day.date} /></Section>
    </>
  );
}

/** How it was published: stage, version, how the publication ended, when, and the hash of what was sent. */
function Proof({ of, now }: { of: Day; now: number }) {
  const end = of.publication;
  const stage = STAGES[of.stage ?? ""];
  const words = end === null ? "published elsewhere" : end.status.replaceAll("_", " ") + (end.verified === false ? ", not verified" : end.verified ? ", verified" : "");
  return (
    <>
      <Pill tone={stage?.tone ?? "warn"} title={stage?.meaning}>{of.stage ?? "no stage"}</Pill> version {of.version} · <span class={end?.verified === false ? "tone-warn" : undefined}>{words}</span>{" "}
      <Age ts={of.received_ts} now={now} /> · <Hash of={of.content_sha256} />
    </>
  );
}
