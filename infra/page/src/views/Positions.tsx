// Open positions: Cards.
import type { JSX } from "preact";
import { Empty } from "../parts/Empty.tsx";

export default function Positions(): JSX.Element {
  return <Empty title="Open positions">Cards would stand here.</Empty>;
}
