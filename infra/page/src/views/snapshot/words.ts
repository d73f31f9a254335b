// The words of published days: stages, freshness, why a figure is missing.
import type { Tone } from "../../parts/Pill.tsx";
import type { SnapshotFreshness } from "./types.ts";

export const STAGES: Record<string, { word: string; tone: Tone; meaning: string }> = {
  premarket: { word: "premarket", tone: "plain", meaning: "valued before the open" },
  intraday: { word: "intraday", tone: "info", meaning: "valued between open and close" },
  final: { word: "final", tone: "gain", meaning: "valued at the close" },
};

export const FRESHNESS: Record<SnapshotFreshness["state"], { word: string; tone: Tone; meaning: string }> = {
  fresh: { word: "fresh", tone: "gain", meaning: "what was due last is published" },
  late: { word: "late", tone: "warning", meaning: "what is due is not published yet" },
  stale: { word: "stale", tone: "loss", meaning: "what is due is missing for more than half an hour" },
  closed: { word: "market closed", tone: "plain", meaning: "no session today; judged by the last one" },
};

const MISSING: Record<string, string> = {
  no_mark: "a price is missing",
  unknown_cost: "the cost of a lot is not known",
  no_quote: "no bid and ask",
  none_closed: "nothing was closed",
  no_losses: "no loss to compare with",
  no_history: "too little history",
  none_open: "nothing is open",
};

// Why a figure has no value, in words.
export function whyMissing(reason: string | null | undefined): string {
  return reason == null ? "no reason was published" : (MISSING[reason] ?? reason.replaceAll("_", " "));
}

// The unit as it stands beside a figure that does not carry it already.
export function unitWords(kind: string, unit: string | null): string {
  return unit ?? { percent: "%", duration: "seconds", ratio: "ratio", number: "count" }[kind] ?? kind;
}
