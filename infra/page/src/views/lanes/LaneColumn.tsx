// One lane: title and count stay, its cards scroll by themselves. An empty lane says so and stays.
import type { JSX } from "preact";
import type { Card, Lane } from "../../api/types.ts";
import { isCut } from "./board.ts";
import { LaneTicket } from "./LaneTicket.tsx";

const HOLDS = { no: "no position", open: "position open", closed: "position closed" } as const;

interface Props {
  lane: Lane;
  number: number;
  isFiltered: boolean;
  stop: string | null; // the ticker that last held the lane's one tab stop
  moved: ReadonlySet<string>;
  onMoves: (card: Card) => void;
}

export function LaneColumn({ lane, number, isFiltered, stop, moved, onMoves }: Props): JSX.Element {
  const current = lane.cards.some(({ ticker }) => ticker === stop) ? stop : (lane.cards[0]?.ticker ?? null);
  const id = `lane-${lane.key}`;
  return (
    <section class={`lane lane-${(number % 8) + 1}`} data-lane={lane.key} aria-labelledby={id}>
      <header class="lane-head">
        <h2 id={id}>
          {lane.title} <span class="count">{isFiltered ? `${lane.cards.length} of ${lane.count}` : lane.count}</span>
        </h2>
        <p class="lane-holds">{HOLDS[lane.holds]}{lane.position && lane.holds === "no" && ", some here have one"}</p>
      </header>
      {lane.cards.length === 0 ? (
        <p class="lane-empty">{lane.count > 0 ? "No card matches the filter." : "No ticker is here."}</p>
      ) : (
        <ul class="lane-cards" aria-labelledby={id}>
          {lane.cards.map((card) => (
            <LaneTicket key={`${card.book_id}/${card.ticker}`} card={card} isStop={card.ticker === current} isNew={moved.has(card.ticker)} onMoves={onMoves} />
          ))}
        </ul>
      )}
      {isCut(lane) && !isFiltered && <p class="lane-cut">The newest {lane.cards.length} of {lane.count}; the filter finds the others.</p>}
    </section>
  );
}
