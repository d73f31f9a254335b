// The channels: how much waits, until when one stands still, and which are switched off and why.

import { Age, Empty, Loaded, Pill, Skeleton, When, spaced, usePolled, type Tone } from "../kit";
import type { Channel } from "./types";

const TONES: Record<string, Tone> = { active: "good", paused: "warn", disabled: "bad" };

/** A card per channel. */
export function Channels() {
  const found = usePolled<{ as_of_ts: number; items: Channel[] }>("/api/v1/notifications/channels", {}, 30);
  return (
    <Loaded of={found} what="channels" skeleton={<Skeleton kind="cards" />}>
      {(answer) =>
        answer.items.length === 0 ? (
          <Empty title="No channel" hint="Channels stand here once discord_notifier has told its first execution." />
        ) : (
          <ul class="channels">{answer.items.map((one) => <Card key={one.channel_id} of={one} now={answer.as_of_ts} />)}</ul>
        )
      }
    </Loaded>
  );
}

function Card({ of, now }: { of: Channel; now: number }) {
  const isPaused = of.paused_until_ts !== null && of.paused_until_ts > now;
  const word = of.status === "active" && isPaused ? "paused" : of.status;
  return (
    <li class={`channel tone-edge-${TONES[word] ?? "warn"}`}>
      <h3>{of.channel_id} <Pill tone={TONES[word] ?? "warn"}>{word}</Pill></h3>
      <dl>
        <div><dt>Waiting</dt><dd>{of.pending}{of.oldest_pending_ts !== null && <small> oldest <Age ts={of.oldest_pending_ts} now={now} /></small>}</dd></div>
        <div><dt>Unclear</dt><dd>{of.ambiguous}</dd></div>
        <div><dt>Dead</dt><dd class={of.dead > 0 ? "tone-bad" : undefined}>{of.dead}</dd></div>
        <div><dt>Last message</dt><dd><Age ts={of.last_posted_ts} now={now} /></dd></div>
      </dl>
      {of.status !== "active" && <p class="tone-bad">{spaced(of.status_reason ?? "no reason was given")}</p>}
      {isPaused && <p class="tone-warn">stands still until <When ts={of.paused_until_ts} />: {spaced(of.paused_reason ?? "told to wait")}</p>}
    </li>
  );
}
