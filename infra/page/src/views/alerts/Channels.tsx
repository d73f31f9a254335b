// The channels: how much waits, until when one stands still, and which are switched off and why.
import type { JSX } from "preact";
import { usePolled } from "../../lib/poll.ts";
import { useTick } from "../../lib/time.ts";
import { Age } from "../../parts/Age.tsx";
import { Empty } from "../../parts/Empty.tsx";
import { Loaded } from "../../parts/Loaded.tsx";
import { Pill } from "../../parts/Pill.tsx";
import { Skeleton } from "../../parts/Skeleton.tsx";
import { When } from "../../parts/When.tsx";
import type { Channel, Channels as Answer } from "./types.ts";
import { spaced, toneOf } from "./words.ts";

// A card per channel.
export function Channels(): JSX.Element {
  const found = usePolled<Answer>("/api/v1/notifications/channels");
  return (
    <Loaded of={found} skeleton={<Skeleton kind="table" rows={3} />}>
      {({ channels }) =>
        channels.length === 0 ? (
          <Empty title="No channel">Channels stand here once discord_notifier has told its first execution.</Empty>
        ) : (
          <ul class="channels">{channels.map((one) => <One key={one.channel_id} of={one} />)}</ul>
        )
      }
    </Loaded>
  );
}

function One({ of }: { of: Channel }): JSX.Element {
  const rests = useTick((now) => of.paused_until_ts !== null && of.paused_until_ts > now);
  const word = of.status === "active" && rests ? "paused" : of.status;
  return (
    <li class={`channel edge-${of.dead > 0 ? "loss" : toneOf(word)}`}>
      <h3>{of.channel_id} <Pill tone={toneOf(word)}>{word}</Pill></h3>
      <dl class="facts">
        <div><dt>Waiting</dt><dd class="num">{of.pending}{of.oldest_pending_ts !== null && <small class="hint"> oldest <Age ts={of.oldest_pending_ts} lateMinutes={1} oldMinutes={10} /></small>}</dd></div>
        <div><dt>Unclear</dt><dd class={`num${of.ambiguous > 0 ? " late" : ""}`}>{of.ambiguous}</dd></div>
        <div><dt>Dead</dt><dd class={`num${of.dead > 0 ? " old" : ""}`}>{of.dead}</dd></div>
        <div><dt>Last message</dt><dd><Age ts={of.last_posted_ts} /></dd></div>
      </dl>
      {of.status !== "active" && <p class="old">{spaced(of.status_reason ?? "no reason was given")}</p>}
      {rests && <p class="late">stands still until <When ts={of.paused_until_ts} />: {spaced(of.paused_reason ?? "told to wait")}</p>}
    </li>
  );
}
