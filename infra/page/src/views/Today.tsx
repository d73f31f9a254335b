// Today: The day.
import type { JSX } from "preact";
import { Empty } from "../parts/Empty.tsx";

export default function Today(): JSX.Element {
  return <Empty title="Today">The day would stand here.</Empty>;
}
