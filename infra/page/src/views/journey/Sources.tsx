// What each execution rests on, under the source's own ids, exactly as the broker gave them.
import type { JSX } from "preact";
import type { Evidence } from "../../api/types.ts";
import { HIDDEN, usePrivacy } from "../../lib/privacy.ts";
import { Card } from "../../parts/Card.tsx";
import { Empty } from "../../parts/Empty.tsx";
import { When } from "../../parts/When.tsx";

export function Sources({ evidence }: { evidence: readonly Evidence[] }): JSX.Element {
  return (
    <Card title="Broker ids" hint="The fills as their source told them" class="journey-sources">
      {evidence.length === 0 ? (
        <Empty title="No fill is known">The source's own ids of each execution would stand here.</Empty>
      ) : (
        <ul class="fill-list">{evidence.map((one) => <Source key={`${one.fill_id}/${one.version}/${one.action_id}`} one={one} />)}</ul>
      )}
    </Card>
  );
}

export function Source({ one }: { one: Evidence }): JSX.Element {
  const isHidden = usePrivacy();
  return (
    <li>
      <p><strong>{one.side}</strong> <When ts={one.executed_ts} date />{one.is_bust && <strong class="loss"> BUST</strong>}</p>
      <dl>
        <dt>Source</dt>
        <dd>{one.source}{one.origin !== one.source && ` · ${one.origin}`}</dd>
        {one.account_key !== "" && <><dt>Account</dt><dd class="mono">{isHidden ? HIDDEN : one.account_key}</dd></>}
        <dt>Source id</dt>
        <dd class="mono">{one.source_id}{one.source_revision > 1 && ` · revision ${one.source_revision}`}</dd>
        {one.venue_order !== "" && <><dt>Order</dt><dd class="mono">{one.venue_order}</dd></>}
        <dt>Fill</dt>
        <dd class="mono">{one.fill_id}{one.version > 1 && ` · version ${one.version}`}</dd>
        <dt>Received</dt>
        <dd><When ts={one.received_ts} date /></dd>
      </dl>
    </li>
  );
}
