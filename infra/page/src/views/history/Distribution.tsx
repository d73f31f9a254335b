// How results are spread, as bars beside their figures: the same list is the chart and its table. Under privacy the classes have
// no amounts, only their side of zero.
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { formatted, money, sign } from "../../lib/decimal.ts";
import { usePrivacy } from "../../lib/privacy.ts";
import { classes, type Class } from "./distribution.ts";

interface Props {
  results: readonly string[];
  currency: string;
}

function edge(value: number, currency: string, width: number): string {
  const decimals = width >= 1 ? 0 : Math.min(6, Math.max(2, Math.ceil(-Math.log10(width))));
  return money(value.toFixed(decimals), currency, { least: decimals, most: decimals, signed: true });
}

export function Distribution({ results, currency }: Props): JSX.Element {
  const isHidden = usePrivacy();
  const found = useMemo(() => classes(results), [results]);
  const flat = useMemo(() => results.filter((result) => sign(result) === 0).length, [results]);
  const most = Math.max(1, flat, ...found.map(({ count }) => count));
  const name = ({ from, to }: Class): string => {
    if (isHidden) return to <= 0 ? "loss" : from >= 0 ? "gain" : "around zero";
    return `${edge(from, currency, to - from)} to ${edge(to, currency, to - from)}`;
  };
  return (
    <ol class="distribution" aria-label="Closed trades by class of realized P&L, the worst first">
      {found.filter(({ to }) => to <= 0).map((one) => <Bar key={one.from} kind="is-loss" name={name(one)} count={one.count} most={most} />)}
      {flat > 0 && <Bar kind="is-flat" name="FLAT" count={flat} most={most} />}
      {found.filter(({ to }) => to > 0).map((one) => <Bar key={one.from} kind="is-gain" name={name(one)} count={one.count} most={most} />)}
    </ol>
  );
}

interface BarProps {
  kind: "is-loss" | "is-flat" | "is-gain";
  name: string;
  count: number;
  most: number;
}

function Bar({ kind, name, count, most }: BarProps): JSX.Element {
  return (
    <li class={kind}>
      <span class="distribution-name num">{name}</span>
      <svg class="distribution-bar" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true"><rect width={(count / most) * 100} height="1" /></svg>
      <span class="num">{formatted(String(count))} <span class="hint">{count === 1 ? "trade" : "trades"}</span></span>
    </li>
  );
}
