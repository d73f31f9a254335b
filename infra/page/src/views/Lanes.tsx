// Kanban: Eight lanes with the cards of every ticker.
import type { JSX } from "preact";
import { Empty } from "../parts/Empty.tsx";

export default function Lanes(): JSX.Element {
  return <Empty title="Kanban">Eight lanes with the cards of every ticker would stand here.</Empty>;
}
