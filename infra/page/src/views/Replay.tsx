// Replay: Runs of a day beside the live book.
import type { JSX } from "preact";
import { Empty } from "../parts/Empty.tsx";

export default function Replay(): JSX.Element {
  return <Empty title="Replay">Runs of a day beside the live book would stand here.</Empty>;
}
