// Accounts: Broker accounts and their syncs.
import type { JSX } from "preact";
import { Empty } from "../parts/Empty.tsx";

export default function Accounts(): JSX.Element {
  return <Empty title="Accounts">Broker accounts and their syncs would stand here.</Empty>;
}
