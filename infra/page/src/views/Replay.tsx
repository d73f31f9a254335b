// Replay: run a stored day again beside the live book, watch it, and see where two runs part.

import "./replay.css";
import { Empty, Loaded, Section, Segments, Skeleton, isoDay, navigate, usePages, useRoute, useScopes } from "./kit";
import { Compare } from "./replay/Compare";
import { Form } from "./replay/Form";
import { RunList } from "./replay/Runs";
import type { Run } from "./replay/types";

const BUSY = new Set(["planned", "running"]);
const BUSY_SECONDS = 2;
const EVERY_SECONDS = 30;

export default function Replay() {
  const { params } = useRoute();
  const { isAdmin } = useScopes();
  const runs = usePages<Run, { as_of_ts: number; items: Run[] }>("/timed/replay/runs", { limit: "25" }, EVERY_SECONDS, (items) => (items.some((one) => BUSY.has(one.status)) ? BUSY_SECONDS : EVERY_SECONDS));
  const { left = null, right = null } = params as { left?: string; right?: string };
  const go = (more: Record<string, string | null>) => navigate("replay", { ...params, ...more }, { replace: true });

  return (
    <>
      <Section id="start" title="Start a replay" note="A replay writes to a book of its own. The live book stays as it is, and nothing is sent.">
        <Form isAdmin={isAdmin} today={isoDay(runs.data?.as_of_ts)} profiles={runs.items.map((one) => one.profile)} onStarted={(run) => { runs.refresh(); if (run !== null) go({ left: run, right: "live" }); }} />
      </Section>
      <Section id="runs" title="Runs" count={runs.data === undefined ? undefined : runs.items.length}>
        <Loaded of={runs} what="replay runs" skeleton={<Skeleton kind="rows" />}>
          {() =>
            runs.items.length === 0 ? (
              <Empty title="No run yet" hint="Start one above, or with: python3 infra/dev.py op replay run" />
            ) : (
              <RunList found={runs} left={left} right={right} params={params} />
            )
          }
        </Loaded>
      </Section>
      <Section id="compare" title="Comparison">
        {left === null || right === null ? (
          <Empty title="Nothing chosen" hint="Choose a run as A and another one, or live, as B." />
        ) : (
          <>
            <div class="toolbar">
              <Segments label="Side B" options={[["live", "live"], ...runs.items.filter((one) => one.run_id === right).map((one) => [one.run_id, `run ${one.run_id.slice(0, 8)}`] as [string, string])]} chosen={right} onChoose={(side) => go({ right: side })} />
            </div>
            <Compare key={`${left} ${right}`} left={left} right={right} runs={runs.items} isAdmin={isAdmin} />
          </>
        )}
      </Section>
    </>
  );
}
