// The figures of a published day in its order, as the texts that were published; a card opens its course and its extremes.
import type { JSX } from "preact";
import { Published } from "./Published.tsx";
import type { Kpi } from "./types.ts";
import { unitWords, whyMissing } from "./words.ts";

interface Props {
  kpis: readonly Kpi[];
  version: number | null;
  chosen: string | null;
  choose: (kpi: string | null) => void;
}

export function Kpis({ kpis, version, chosen, choose }: Props): JSX.Element {
  return (
    <ul class="kpis">
      {kpis.map((one) => {
        const isMissing = one.value_num === null && one.kind !== "text";
        const isChosen = one.kpi === chosen;
        return (
          <li key={one.kpi}>
            <button type="button" class={`kpi${isMissing ? " missing" : ""}`} aria-expanded={isChosen} aria-controls="kpi-detail" onClick={() => choose(isChosen ? null : one.kpi)}>
              <span class="kpi-name">{one.kpi}</span>
              <span class="kpi-value num">{isMissing ? "—" : <Published text={one.value} kind={one.kind} exact={one.value_num} />}</span>
              <small class={isMissing ? "late" : "hint"}>{isMissing ? whyMissing(one.missing_reason) : `${unitWords(one.kind, one.unit)}${version === null ? "" : ` · version ${version}`}`}</small>
            </button>
          </li>
        );
      })}
    </ul>
  );
}
