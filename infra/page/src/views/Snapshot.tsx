// Snapshot: The published day.
import type { JSX } from "preact";
import { Empty } from "../parts/Empty.tsx";

export default function Snapshot(): JSX.Element {
  return <Empty title="Snapshot">The published day would stand here.</Empty>;
}
