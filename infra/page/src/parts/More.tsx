// The end of a list: a button for more rows, or a word that there are more than one answer holds.
import type { JSX } from "preact";

interface Props {
  of: { more: (() => void) | null; isCut: boolean; rows: readonly unknown[] };
}

export function More({ of }: Props): JSX.Element | null {
  if (of.more !== null) return <p class="list-end"><button type="button" class="button" onClick={of.more}>Show more</button></p>;
  return of.isCut ? <p class="list-end hint">The newest {of.rows.length} are shown. Narrow the filter to see others.</p> : null;
}
