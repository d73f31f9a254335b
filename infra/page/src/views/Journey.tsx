// Position: One position from its first entry.
import type { JSX } from "preact";
import { Empty } from "../parts/Empty.tsx";

export default function Journey(): JSX.Element {
  return <Empty title="Position">One position from its first entry would stand here.</Empty>;
}
