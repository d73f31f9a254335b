// What the Kanban knows without a browser: what a filter leaves, what a badge or a stage is called, where an arrow key leads.

export interface Reason {
  code: string;
  text: string;
}

export interface LaneCard {
  ticker: string;
  book_id?: string;
  direction: string | null;
  stage: string;
  previous_stage: string | null;
  moved_ts: number | null;
  moved_at: string | null;
  moved: "forward" | "backward" | null;
  score: string | null;
  price: string | null;
  price_ts: number | null;
  price_at: string | null;
  price_state?: "fresh" | "stale" | "missing";
  day_change_percent: string | null;
  day_direction: "up" | "down" | "flat" | "unknown";
  badges: string[];
  reasons: Reason[];
  block_reasons: Reason[];
  position_id: string | null;
  receipt_id: string | null;
}

export interface Lane {
  key: string;
  title: string;
  position: boolean;
  count: number;
  cards: LaneCard[];
}

export interface LanesAnswer {
  data_as_of_ts: number | null;
  count: number;
  lanes: Lane[];
}

export interface LaneMove {
  ticker: string;
  stage: string;
  previous_stage: string | null;
  ts: number;
  rule: string | null;
  receipt_id: string | null;
  reasons: Reason[];
  block_reasons: Reason[];
}

export interface LaneMovesAnswer {
  data_as_of_ts: number | null;
  has_more: boolean;
  moves: LaneMove[];
}

export function isFound(card: LaneCard, filter: string): boolean {
  return card.ticker.toUpperCase().includes(filter.trim().toUpperCase());
}

// the lanes with what a filter leaves of their cards; empty lanes stay
export function filtered(lanes: readonly Lane[], filter: string): Lane[] {
  if (filter.trim() === "") return [...lanes];
  return lanes.map((lane) => ({ ...lane, cards: lane.cards.filter((card) => isFound(card, filter)) }));
}

export function isCut(lane: Lane): boolean {
  return lane.count > lane.cards.length;
}

export interface Place {
  lane: number;
  card: number;
}

// Where an arrow key leads from a card, null where there is nothing: lanes without cards are passed over.
export function step(sizes: readonly number[], from: Place, key: string): Place | null {
  const size = sizes[from.lane] ?? 0;
  const within = (card: number): Place | null => (card >= 0 && card < size && card !== from.card ? { lane: from.lane, card } : null);
  if (key === "ArrowDown") return within(from.card + 1);
  if (key === "ArrowUp") return within(from.card - 1);
  if (key === "Home") return within(0);
  if (key === "End") return within(size - 1);
  const by = key === "ArrowRight" ? 1 : key === "ArrowLeft" ? -1 : 0;
  if (by === 0) return null;
  for (let lane = from.lane + by; lane >= 0 && lane < sizes.length; lane += by) {
    const there = sizes[lane] ?? 0;
    if (there > 0) return { lane, card: Math.min(from.card, there - 1) };
  }
  return null;
}
