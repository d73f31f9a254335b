// The beginning of a hash, the whole of it in the tool tip.
import type { JSX } from "preact";

const SHOWN = 12;

export function Hash({ of }: { of: string }): JSX.Element {
  return <code class="mono hash" title={of}>{of.slice(0, SHOWN)}…</code>;
}
