// Replay: run a stored day again beside the live book, watch it, and see where two runs part.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { useDesk, useIsAdmin } from "../frame/desk.ts";
import { useRows } from "../lib/list.ts";
import { CALM_SECONDS } from "../lib/poll.ts";
import { useFilters } from "../lib/router.tsx";
import { dayOf } from "../lib/time.ts";
import { Card } from "../parts/Card.tsx";
import { Empty } from "../parts/Empty.tsx";
import { Loaded } from "../parts/Loaded.tsx";
import { Skeleton } from "../parts/Skeleton.tsx";
import { Compare } from "./replay/Compare.tsx";
import { Form } from "./replay/Form.tsx";
import { RunList, scopeWords } from "./replay/RunList.tsx";
import type { Run, Runs } from "./replay/types.ts";
import "./common.css";
import "./replay.css";

const BUSY_SECONDS = 2; // while a run is under way
const BUSY: ReadonlySet<string> = new Set(["planned", "running"]);
const LIVE = "live";

export default function Replay(): JSX.Element {
  const [params, change] = useFilters();
  const isAdmin = useIsAdmin();
  const desk = useDesk();
  const [isBusy, setBusy] = useState(false);
  const runs = useRows<Run, Runs>({ path: "/timed/replay/runs", step: 20, most: 100, rows: (answer) => answer.runs, seconds: isBusy ? BUSY_SECONDS : CALM_SECONDS });
  useEffect(() => setBusy(runs.rows.some(({ status }) => BUSY.has(status))), [runs.rows]);
  const { left, right } = params as { left?: string; right?: string };
  const started = (runId: string): void => {
    runs.refresh();
    change({ left: runId, right: LIVE });
  };
  return (
    <div class="stack">
      <Card title="Start a replay" hint="A replay writes to a book of its own. The live book stays as it is, and nothing is sent to anybody.">
        {desk === null ? <Skeleton rows={2} /> : <Form isAdmin={isAdmin} today={dayOf(desk.server_ts)} profiles={runs.rows.map(({ profile }) => profile)} onStarted={started} />}
      </Card>
      <Card title={<>Runs {runs.data !== null && <span class="count">{runs.rows.length}</span>}</>}>
        <Loaded of={runs} skeleton={<Skeleton kind="table" rows={4} />}>
          {() => (runs.rows.length === 0 ? <Empty title="No run yet">Start one above, or with: python3 infra/dev.py op replay run</Empty> : <RunList found={runs} params={params} />)}
        </Loaded>
      </Card>
      <Card title="Comparison">
        {left !== undefined && <SideB runs={runs.rows} chosen={right ?? LIVE} choose={(side) => change({ right: side })} />}
        {left === undefined || right === undefined ? (
          <Empty title="Nothing is compared">Choose a run as A and another one, or live, as B.</Empty>
        ) : (
          <Compare key={`${left} ${right}`} left={left} right={right} isAdmin={isAdmin} />
        )}
      </Card>
    </div>
  );
}

function SideB({ runs, chosen, choose }: { runs: readonly Run[]; chosen: string; choose: (side: string) => void }): JSX.Element {
  return (
    <label class="side-b">
      <span class="hint">Compared with</span>
      <select value={chosen} onChange={(event) => choose(event.currentTarget.value)}>
        <option value={LIVE}>live</option>
        {runs.map((one) => <option key={one.run_id} value={one.run_id}>{scopeWords(one)} · {one.profile} · {one.name ?? one.run_id.slice(0, 8)}</option>)}
      </select>
    </label>
  );
}
