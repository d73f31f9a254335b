// The place of what is loading, in its final layout; nothing of it moves under reduced motion.
import type { JSX } from "preact";

interface Props {
  rows?: number;
  kind?: "lines" | "cards" | "chart" | "table";
}

export function Skeleton({ rows = 3, kind = "lines" }: Props): JSX.Element {
  const bones = Array.from({ length: rows }, (_, number) => <span key={number} class="bone" />);
  return (
    <div class={`skeleton skeleton-${kind}`} role="status">
      <span class="visually-hidden">Loading</span>
      {bones}
    </div>
  );
}
