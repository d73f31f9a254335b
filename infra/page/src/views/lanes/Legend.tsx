// What the marks of the board mean, in words; closed until it is asked for.

import type { JSX } from "preact";
import type { Lane } from "../../api/types.ts";
import { Badge } from "../../parts/Badge.tsx";

const BADGES: readonly (readonly [string, string])[] = [
  ["Defend", "the stop was drawn closer, the position is on guard"],
  ["Exit pending", "the exit holds but may not be traded yet"],
];

export function Legend({ lanes }: { lanes: readonly Lane[] }): JSX.Element {
  return (
    <details class="lanes-legend">
      <summary>Legend</summary>
      <dl>
        <div>
          <dt>Lanes, from left to right</dt>
          <dd>
            <ul class="legend-lanes">
              {lanes.map((lane, number) => <li key={lane.key} class={`lane-${(number % 8) + 1}`}>{lane.title}</li>)}
            </ul>
          </dd>
        </div>
        <div>
          <dt>Where a card came from</dt>
          <dd>→ forward on the board, ← backward, with the lane stage before and the time of the move</dd>
        </div>
        <div>
          <dt>Day change</dt>
          <dd>▲ up, ▼ down, ● flat against the last price of the session before; — not known</dd>
        </div>
        <div>
          <dt>Why not entered</dt>
          <dd>each rule in the way at the last receipt</dd>
        </div>
        {BADGES.map(([name, meaning]) => (
          <div key={name}>
            <dt><Badge tone={name === "Exit pending" ? "info" : "warning"}>{name}</Badge></dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}
