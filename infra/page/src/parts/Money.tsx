// An amount of money: exact text in the tool tip, sign and word besides colour, hidden under privacy.
import type { JSX } from "preact";
import { money, NONE, sign, spoken, type Decimal } from "../lib/decimal.ts";
import { HIDDEN, usePrivacy } from "../lib/privacy.ts";
import { useChanged } from "./changed.ts";

interface Props {
  value: Decimal | null | undefined;
  currency: string | null;
  pnl?: boolean; // a result: "+" and colour, zero is the word FLAT
  missing?: string; // why it is not known, for the tool tip
  decimals?: number;
}

export function Money({ value, currency, pnl = false, missing, decimals = 2 }: Props): JSX.Element {
  const isHidden = usePrivacy();
  const isKnown = value !== null && value !== undefined;
  const text = isHidden ? HIDDEN : !isKnown ? NONE : pnl && sign(value) === 0 ? "FLAT" : money(value, currency, { signed: pnl, least: 2, most: decimals });
  const changed = useChanged(text);
  if (isHidden) return <span class="num hidden-amount">{HIDDEN}</span>;
  if (!isKnown) return <span class="num unknown" title={missing ?? "not known"}>{NONE}</span>;
  const tone = pnl ? ["loss", "flat", "gain"][sign(value) + 1] : "";
  return <span class={`num ${tone}${changed}`} title={`${value}${currency === null ? "" : ` ${currency}`}`}>{text}</span>;
}

// The same in words, for accessible names; nothing of it under privacy.
export function moneyWords(value: Decimal | null | undefined, currency: string | null, isHidden: boolean): string {
  if (isHidden) return "hidden";
  if (value === null || value === undefined) return "unknown";
  return sign(value) === 0 ? "flat" : spoken(value, currency);
}

export function arrow(value: Decimal): string {
  return ["▼", "●", "▲"][sign(value) + 1] ?? "";
}

export function upDown(value: Decimal): string {
  return ["down", "flat", "up"][sign(value) + 1] ?? "";
}
