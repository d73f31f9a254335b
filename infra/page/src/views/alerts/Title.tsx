// The title of a message as people read it; under privacy without the accounts that it names.
import type { JSX } from "preact";
import { HIDDEN, usePrivacy } from "../../lib/privacy.ts";
import { readable } from "../../parts/words.ts";

export function Title({ of }: { of: { title: string | null; subject_key: string } }): JSX.Element {
  const text = readable(of.title ?? of.subject_key);
  return <>{usePrivacy() ? text.replaceAll(/\b(ibkr|mt5):[^\s/]+/g, `$1:${HIDDEN}`) : text}</>;
}
