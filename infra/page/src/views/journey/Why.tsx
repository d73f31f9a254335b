// Why an execution was done and what came of it: receipt → signal → lane → intent → fill → action → closings → event → message →
// published figures. Each link opens; one that is missing is named and says why.
import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import type { Execution, Link as WhyLink, Why as Answer } from "../../api/types.ts";
import { usePolled } from "../../lib/poll.ts";
import { Link as PageLink } from "../../lib/router.tsx";
import { duration } from "../../lib/time.ts";
import { Badge } from "../../parts/Badge.tsx";
import { Loaded } from "../../parts/Loaded.tsx";
import { Skeleton } from "../../parts/Skeleton.tsx";
import { Toggle } from "../../parts/Tabs.tsx";
import type { Tone } from "../../parts/Pill.tsx";
import { When } from "../../parts/When.tsx";
import { sentence } from "../../parts/words.ts";
import { Facts } from "./Facts.tsx";
import { discordLink } from "./MessageState.tsx";
import { factText, type FactsOf } from "./why.ts";

interface Props {
  action: Execution;
  bookId: string;
}

const NAMES: Readonly<Record<string, string>> = {
  receipt: "Receipt",
  signal: "Signal",
  lane: "Lane decision",
  intent: "Intent",
  fill: "Fill",
  action: "Execution",
  closing: "Closing",
  event: "Event",
  message: "Message",
  kpi: "Published figure",
};
const STATES: Readonly<Record<string, readonly [string, Tone]>> = {
  missing: ["missing", "loss"],
  not_yet: ["not yet", "warning"],
  not_applicable: ["does not apply", "plain"],
};

export function Why({ action, bookId }: Props): JSX.Element {
  const [version, setVersion] = useState<number | null>(null);
  const answer = usePolled<Answer>(`/timed/why/${action.action_id}`, { books: bookId, version: version === null ? null : String(version) });
  const versions = answer.data?.versions ?? action.version;
  const shown = version ?? versions;
  return (
    <section class="why" aria-label={`Why: ${action.action_type.replace("_", " ").toLowerCase()}`}>
      {versions > 1 && <Toggle label="Version" tabs={Array.from({ length: versions }, (_, number) => ({ key: String(number + 1), title: `Version ${number + 1}` }))} chosen={String(shown)} choose={(key) => setVersion(Number(key))} />}
      <Loaded of={answer} skeleton={<Skeleton rows={6} />}>
        {(why) => (
          <>
            <p class="hint">{why.is_whole ? "The chain is whole." : `Missing: ${why.missing.map((name) => (NAMES[name] ?? name).toLowerCase()).join(", ")}.`}</p>
            <ol class="why-chain">
              {why.chain.map((link, number) => <One key={`${link.link}/${link.id ?? number}`} link={link} why={why} />)}
            </ol>
          </>
        )}
      </Loaded>
    </section>
  );
}

function One({ link, why }: { link: WhyLink; why: Answer }): JSX.Element {
  const [state, tone] = STATES[link.state] ?? ["", "plain"];
  const hint = link.note ?? headline(link);
  return (
    <li class={`why-link is-${link.state}`}>
      <details>
        <summary>
          <span class="why-name">{NAMES[link.link] ?? sentence(link.link)}</span>
          {state !== "" && <Badge tone={tone}>{state}</Badge>}
          <span class="why-note">{hint}</span>
          <span class="why-time hint">{link.ts === null ? "" : <When ts={link.ts} date />}{link.gap_ms !== null && ` · ${gap(link.gap_ms)}`}</span>
        </summary>
        <div class="why-more">
          {link.id !== null && <p class="hint">id <span class="mono">{link.id}</span></p>}
          <Facts facts={factsOf(link)} />
          <Onward link={link} why={why} />
        </div>
      </details>
    </li>
  );
}

// "+1.2 s": the time since the link before; a link may be recorded before the one that names it
function gap(ms: number): string {
  const size = Math.abs(ms);
  const text = size < 1000 ? `${size} ms` : size < 90_000 ? `${(size / 1000).toFixed(1)} s` : duration(size);
  return `${ms < 0 ? "−" : "+"}${text}`;
}

function factsOf(link: WhyLink): FactsOf {
  return link.facts as FactsOf;
}

function headline({ link, facts: own }: WhyLink): string {
  const facts = own as FactsOf;
  const read = (name: string): string => factText(facts[name]);
  const parts: Readonly<Record<string, string>> = {
    receipt: read("ticker"),
    signal: `script ${read("script_version")}`,
    lane: [sentence(read("lane")), read("reason_text")].filter(Boolean).join(": "),
    intent: [read("kind"), read("reason_text")].filter(Boolean).join(": "),
    fill: `${read("source")} ${read("source_id")}`,
    action: read("action_type").replace("_", " "),
    closing: "a part of a lot",
    event: sentence(read("event_type")),
    message: [read("channel"), read("state")].filter(Boolean).join(": "),
    kpi: `${read("kind")} of ${read("date")}`,
  };
  return parts[link] ?? "";
}

// where a link leads: a view of this page, or Discord
function Onward({ link, why }: { link: WhyLink; why: Answer }): JSX.Element | null {
  const url = discordLink(typeof link.facts.url === "string" ? link.facts.url : null);
  const to = (path: string, params: Record<string, string>, text: ComponentChildren): JSX.Element => <p><PageLink to={path} params={params}>{text}</PageLink></p>;
  if (link.link === "lane" && link.state === "found") return to("/app/lanes", { ticker: why.ticker }, `${why.ticker} on the board now`);
  if (link.link === "kpi" && typeof link.facts.date === "string") return to("/app/snapshot", { date: link.facts.date, kpi: factText(link.facts.kind) }, "Open the published day");
  if (link.link === "message" && url !== null) return <p><a href={url} target="_blank" rel="noopener noreferrer">Open on Discord</a></p>;
  if (link.link === "message" && link.state === "missing") return to("/app/alerts", {}, "Open Alerts");
  if (link.link === "action") return to(`/app/positions/${why.position_id}`, {}, "Open the position");
  return null;
}
