// The figures of a published day in its order, as texts that were published; a card opens its course and its extremes.

import { Published } from "../kit";
import type { Kpi } from "./types";
import { unitWords, whyMissing } from "./words";

interface Given {
  kpis: readonly Kpi[];
  version: number | null;
  chosen: string | null;
  onChoose: (kpi: string | null) => void;
}

/** The cards. Exact numbers are in the tool tip; a missing one shows its reason. */
export function Kpis({ kpis, version, chosen, onChoose }: Given) {
  return (
    <ul class="kpis">
      {kpis.map((one) => {
        const isMissing = one.value_num === null;
        return (
          <li key={one.kpi}>
            <button type="button" class={isMissing ? "kpi missing" : "kpi"} aria-expanded={one.kpi === chosen} aria-controls="kpi-detail" onClick={() => onChoose(one.kpi === chosen ? null : one.kpi)}>
              <span class="kpi-name">{one.kpi}</span>
              <span class="kpi-value">{isMissing ? "—" : <Published text={one.value} kind={one.kind} exact={one.value_num} />}</span>
              <small>{isMissing ? whyMissing(one.missing_reason) : `${unitWords(one.kind, one.unit)} · version ${version ?? "—"}`}</small>
            </button>
          </li>
        );
      })}
    </ul>
  );
}
