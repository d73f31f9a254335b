// A percentage in points; it stays visible under privacy.
import type { JSX } from "preact";
import { NONE, percent, sign, type Decimal } from "../lib/decimal.ts";
import { useChanged } from "./changed.ts";
import { arrow } from "./Money.tsx";

interface Props {
  value: Decimal | null | undefined;
  signed?: boolean; // a result or a change: "+", colour
  withArrow?: boolean; // ▲ ▼ ● before it
  missing?: string;
}

export function Percent({ value, signed = false, withArrow = false, missing }: Props): JSX.Element {
  const isKnown = value !== null && value !== undefined;
  const text = isKnown ? percent(value, { signed }) : NONE;
  const changed = useChanged(text);
  if (!isKnown) return <span class="num unknown" title={missing ?? "not known"}>{NONE}</span>;
  const tone = signed ? ["loss", "flat", "gain"][sign(value) + 1] : "";
  return (
    <span class={`num ${tone}${changed}`} title={`${value} %`}>
      {withArrow && <span class="arrow" aria-hidden="true">{arrow(value)} </span>}
      {text}
    </span>
  );
}
