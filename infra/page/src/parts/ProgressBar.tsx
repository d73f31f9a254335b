// How far something is: a track that stands at 0 % too, with its text.
import type { JSX } from "preact";
import { percent, toNumber, type Decimal } from "../lib/decimal.ts";

interface Props {
  value: Decimal | null; // points, 0 to 100
  word: string; // "trimmed"
  class?: string;
}

export function ProgressBar({ value, word, class: own = "" }: Props): JSX.Element {
  const text = value === null ? `unknown part ${word}` : `${percent(value, { least: 0 })} ${word}`;
  const number = value === null ? 0 : Math.min(100, Math.max(0, toNumber(value)));
  return (
    <div class={`progress ${own}`} role="progressbar" aria-valuemin={0} aria-valuemax={100} aria-valuenow={number} aria-valuetext={text} aria-label={text}>
      <svg class="progress-track" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">
        <rect class="progress-fill" width={number} height="1" />
      </svg>
    </div>
  );
}
