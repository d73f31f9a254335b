// Why something that a person asked for was not done, in one sentence; `words` for the statuses that mean something of their own.
import { ApiError } from "../api/client.ts";

export function failureWords(error: unknown, words: Readonly<Record<number, string>>): string {
  if (!(error instanceof ApiError)) return "It could not be done.";
  const own = words[error.status] ?? error.message;
  if (error.status === 429) return `${own} Try again in ${error.retryAfter ?? 60} s.`;
  return error.requestId === null ? own : `${own} (request ${error.requestId})`;
}
