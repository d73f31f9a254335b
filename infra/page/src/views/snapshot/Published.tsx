// A text as it was published; under privacy only what is no amount stays: percentages, ratios, counts and times.
import type { JSX } from "preact";
import { HIDDEN, usePrivacy } from "../../lib/privacy.ts";

const OPEN = new Set(["percent", "ratio", "number", "duration"]);

interface Props {
  text: string;
  kind: string | null; // null: not known, taken for an amount unless it is a percentage
  exact?: string | null;
}

export function Published({ text, kind, exact = null }: Props): JSX.Element {
  const isHidden = usePrivacy() && !(kind === null ? /^[-−]?[\d.,]+ ?%$/.test(text) : OPEN.has(kind));
  if (isHidden) return <span class="hidden-amount">{HIDDEN}</span>;
  return <span title={exact ?? undefined}>{text}</span>;
}
