// A price of the market: at least two decimals, no secret.
import type { JSX } from "preact";
import { formatted, NONE, type Decimal } from "../lib/decimal.ts";
import { useChanged } from "./changed.ts";

interface Props {
  value: Decimal | null | undefined;
  missing?: string;
  decimals?: number;
}

export function Price({ value, missing = "no price", decimals = 4 }: Props): JSX.Element {
  const isKnown = value !== null && value !== undefined;
  const text = isKnown ? formatted(value, { least: 2, most: decimals }) : NONE;
  const changed = useChanged(text);
  return <span class={`num ${isKnown ? "" : "unknown"}${changed}`} title={isKnown ? value : missing}>{text}</span>;
}
