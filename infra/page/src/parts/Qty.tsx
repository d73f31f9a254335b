// A quantity, at most four decimals; hidden under privacy.
import type { JSX } from "preact";
import { formatted, NONE, type Decimal } from "../lib/decimal.ts";
import { HIDDEN, usePrivacy } from "../lib/privacy.ts";
import { useChanged } from "./changed.ts";

export function Qty({ value }: { value: Decimal | null | undefined }): JSX.Element {
  const isHidden = usePrivacy();
  const isKnown = value !== null && value !== undefined;
  const text = isHidden ? HIDDEN : isKnown ? formatted(value, { most: 4 }) : NONE;
  const changed = useChanged(text);
  if (isHidden) return <span class="num hidden-amount">{HIDDEN}</span>;
  return <span class={`num ${isKnown ? "" : "unknown"}${changed}`} title={isKnown ? value : "not known"}>{text}</span>;
}
