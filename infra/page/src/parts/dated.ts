// "data as of 14:03:22 EST", of an answer's own frame.
import { clock } from "../lib/time.ts";

export function dataAsOfWords(data: unknown): string {
  const frame = data as { data_as_of_ts?: number | null; as_of_ts?: number } | null;
  const ts = frame?.data_as_of_ts ?? frame?.as_of_ts;
  return typeof ts === "number" ? `data as of ${clock(ts, { date: true })}` : "the last answer";
}
