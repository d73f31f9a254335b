// The board's final form while it is asked for: eight columns, or one on a phone.
import type { JSX } from "preact";
import { Skeleton } from "../../parts/Skeleton.tsx";

const LANES = 8;

export function LanesSkeleton(): JSX.Element {
  return (
    <div class="board is-loading">
      {Array.from({ length: LANES }, (_, number) => (
        <div key={number} class={`lane lane-${number + 1}`}>
          <Skeleton kind="cards" rows={3} />
        </div>
      ))}
    </div>
  );
}
