// The ticker's change since the last price of the session before: arrow, sign and colour; FLAT is a word.
import type { JSX } from "preact";
import { sign, type Decimal } from "../lib/decimal.ts";
import { Percent } from "../parts/Percent.tsx";

export function DayChange({ percent }: { percent: Decimal | null }): JSX.Element {
  if (percent !== null && sign(percent) === 0) return <span class="num flat">● FLAT</span>;
  return <Percent value={percent} signed withArrow missing="the last session's price is not known" />;
}
