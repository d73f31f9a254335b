// Alerts: Messages, channels and their proof.
import type { JSX } from "preact";
import { Empty } from "../parts/Empty.tsx";

export default function Alerts(): JSX.Element {
  return <Empty title="Alerts">Messages, channels and their proof would stand here.</Empty>;
}
