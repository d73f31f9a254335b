// The name of a book; under privacy the account in it is not said.
import type { JSX } from "preact";
import { bookWords } from "../frame/BookPicker.tsx";
import { usePrivacy } from "../lib/privacy.ts";

export function BookName({ id }: { id: string }): JSX.Element {
  return <span class="mono">{bookWords(id, usePrivacy())}</span>;
}
