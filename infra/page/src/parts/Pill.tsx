// LONG or SHORT, ENTRY or EXIT: a word in a capsule; its colour only repeats the word.
import type { ComponentChildren, JSX } from "preact";

export type Tone = "plain" | "gain" | "loss" | "warning" | "info";

const TONES: Readonly<Record<string, Tone>> = {
  LONG: "gain",
  SHORT: "loss",
  ENTRY: "info",
  ADD_ENTRY: "info",
  TRIM: "warning",
  EXIT: "plain",
};

interface Props {
  tone?: Tone;
  title?: string;
  children: ComponentChildren;
}

export function Pill({ tone, title, children }: Props): JSX.Element {
  const own = tone ?? (typeof children === "string" ? TONES[children] : undefined) ?? "plain";
  const text = typeof children === "string" ? children.replaceAll("_", " ") : children;
  return <span class={`pill tone-${own}`} title={title}>{text}</span>;
}
