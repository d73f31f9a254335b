// What became of an execution's message on Discord, as a word; what it means is in the tool tip and in the open row.
import type { JSX } from "preact";
import { Badge } from "../../parts/Badge.tsx";
import type { Tone } from "../../parts/Pill.tsx";

const STATES: Readonly<Record<string, readonly [Tone, string]>> = {
  proven: ["gain", "read back from Discord and equal to what the book says"],
  posted: ["info", "posted; not yet read back"],
  pending: ["info", "waits to be posted"],
  ambiguous: ["warning", "Discord's answer was lost: it is looked for before it is posted again"],
  dead: ["loss", "given up after every attempt; see Alerts"],
  missing: ["loss", "was posted, and is not there any more"],
  wrong: ["loss", "stands there with other figures than the book's"],
  double: ["loss", "stands there more than once"],
  orphan: ["loss", "stands there without an execution in the book"],
  unverifiable: ["warning", "could not be read back"],
  suppressed: ["plain", "not told: the execution was too old or of a silent book"],
  muted: ["plain", "not told: the channel is muted"],
  removed: ["warning", "taken back: the execution did not happen after all"],
  none: ["plain", "no message was wanted"],
};

export function messageWords(state: string | null): string {
  return state === null ? "of another moment: messages are known as they are, not as they were" : (STATES[state]?.[1] ?? "a state this page has no words for");
}

export function MessageState({ state }: { state: string | null }): JSX.Element {
  const [tone] = STATES[state ?? ""] ?? (["plain"] as const);
  return <Badge tone={tone} title={messageWords(state)}>{state ?? "—"}</Badge>;
}

// only Discord's own address becomes a link
export function discordLink(url: string | null): string | null {
  return url !== null && url.startsWith("https://discord.com/") ? url : null;
}
