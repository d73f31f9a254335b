// A position from its first entry to its last exit: how it stands, its price with every execution on it, its lots, what each
// execution did and why, what was corrected, what Discord was told, what the broker said, and what the desk noted.
import type { JSX } from "preact";
import type { TradeDetail } from "../api/types.ts";
import { useScope } from "../lib/books.ts";
import { LIVE_SECONDS, usePolled } from "../lib/poll.ts";
import { Link, useRoute } from "../lib/router.tsx";
import { ErrorBox } from "../parts/ErrorBox.tsx";
import { Loaded } from "../parts/Loaded.tsx";
import { Skeleton } from "../parts/Skeleton.tsx";
import { Corrections } from "./journey/Corrections.tsx";
import { Executions } from "./journey/Executions.tsx";
import { Head } from "./journey/Head.tsx";
import { Lots } from "./journey/Lots.tsx";
import { Notes } from "./journey/Notes.tsx";
import { PriceChart } from "./journey/PriceChart.tsx";
import { Sources } from "./journey/Sources.tsx";
import "./journey.css";

export default function Journey(): JSX.Element {
  const { id } = useRoute();
  const { query } = useScope();
  const answer = usePolled<TradeDetail>(id === null ? null : `/timed/ledger/trades/${encodeURIComponent(id)}`, { ...query, include: "history,evidence" }, LIVE_SECONDS);
  const isUnknown = answer.data === null && answer.error?.status === 404;
  return (
    <div class="journey-view">
      <nav class="journey-back" aria-label="Back to the lists">
        <Link to="/app/positions">Open positions</Link>
        <Link to="/app/history">History</Link>
      </nav>
      {isUnknown && answer.error !== null ? (
        <Unknown error={answer.error} />
      ) : (
        <Loaded of={answer} skeleton={<JourneySkeleton />}>{(data) => <Whole answer={data} refresh={answer.refresh} />}</Loaded>
      )}
    </div>
  );
}

function Unknown({ error }: { error: NonNullable<ReturnType<typeof usePolled>["error"]> }): JSX.Element {
  return (
    <>
      <ErrorBox error={error} />
      <p class="hint">No position of the chosen books has this id.</p>
    </>
  );
}

function Whole({ answer, refresh }: { answer: TradeDetail; refresh: () => void }): JSX.Element {
  const { trade, lots, actions, messages, versions = [], evidence = [] } = answer;
  return (
    <>
      <Head trade={trade} />
      <div class="journey-grid">
        <PriceChart trade={trade} actions={actions} />
        <Notes trade={trade} refresh={refresh} />
        <Executions trade={trade} actions={actions} messages={messages} versions={versions} evidence={evidence} />
        <Lots trade={trade} lots={lots} />
        <Corrections trade={trade} versions={versions} />
        <Sources evidence={evidence} />
      </div>
    </>
  );
}

function JourneySkeleton(): JSX.Element {
  return (
    <>
      <div class="journey-head"><Skeleton rows={5} /></div>
      <div class="journey-grid">
        <div class="card journey-chart"><Skeleton kind="chart" rows={1} /></div>
        <div class="card journey-notes"><Skeleton rows={4} /></div>
        <div class="card journey-executions"><Skeleton kind="table" rows={4} /></div>
        <div class="card journey-lots"><Skeleton kind="table" rows={3} /></div>
      </div>
    </>
  );
}
