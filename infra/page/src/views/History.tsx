// History: Closed and open positions by filter.
import type { JSX } from "preact";
import { Empty } from "../parts/Empty.tsx";

export default function History(): JSX.Element {
  return <Empty title="History">Closed and open positions by filter would stand here.</Empty>;
}
