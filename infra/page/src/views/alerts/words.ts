// The words of messages: how far the telling is, and which of them is good news.
import type { Tone } from "../../parts/Pill.tsx";

export const STATES = ["pending", "sending", "posted", "ambiguous", "dead", "suppressed", "muted", "removed"] as const;
export const CHANNELS = ["executions", "ops", "lanes"] as const;
export const FOUND = ["missing", "wrong", "double", "orphan", "unverifiable"] as const;

const TONES: Readonly<Record<string, Tone>> = {
  proven: "gain", posted: "gain", repaired: "gain", active: "gain",
  pending: "info", sending: "info", queued: "info", running: "info",
  ambiguous: "warning", unverifiable: "warning", paused: "warning",
  dead: "loss", missing: "loss", wrong: "loss", double: "loss", orphan: "loss", open: "loss", aborted: "loss", disabled: "loss",
  suppressed: "plain", muted: "plain", removed: "plain",
};

// A word that is not known yet is a warning, never good news.
export function toneOf(word: string): Tone {
  return TONES[word] ?? "warning";
}

export function spaced(slug: string): string {
  return slug.replaceAll("_", " ");
}
