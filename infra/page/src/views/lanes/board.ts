// What the Kanban knows without a browser: what a filter leaves, what a badge or a stage is called, where an arrow key leads.

import type { Card, Lane } from "../../api/types.ts";

export function isFound(card: Card, filter: string): boolean {
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
