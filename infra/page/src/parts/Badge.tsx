// A short remark on something: stale, corrected, JUST OPENED.
import type { ComponentChildren, JSX } from "preact";
import type { Tone } from "./Pill.tsx";

interface Props {
  tone?: Tone;
  title?: string;
  children: ComponentChildren;
}

export function Badge({ tone = "plain", title, children }: Props): JSX.Element {
  return <span class={`badge tone-${tone}`} title={title}>{children}</span>;
}
