// The name of a broker account; hidden under privacy, like everything that says whose money it is.
import type { JSX } from "preact";
import { HIDDEN, usePrivacy } from "../lib/privacy.ts";

export function Label({ text }: { text: string }): JSX.Element {
  return <span class="account-label">{usePrivacy() ? HIDDEN : text}</span>;
}
