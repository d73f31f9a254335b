// The one door to the API: adds the key, keeps ETags, turns every failure into an ApiError that can be shown.
import { href, type Given } from "../lib/router.tsx";
import { forget, key, onKeyChange } from "./session.ts";

const KEPT_MAX = 100;
const TIMEOUT_MS = 30_000;

export type Query = Given;

// `status` 0: the desk was not reached at all. `retryAfter` in seconds.
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly requestId: string | null;
  readonly retryAfter: number | null;

  constructor(status: number, code: string, message: string, requestId: string | null = null, retryAfter: number | null = null) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.requestId = requestId;
    this.retryAfter = retryAfter;
  }
}

interface Kept {
  tag: string;
  body: unknown;
}

// Answers by address, the oldest first; an unchanged one comes back as the same object.
const answers = new Map<string, Kept>();
onKeyChange(() => answers.clear());

interface Wanted {
  method: string;
  headers?: Record<string, string>;
  body?: string;
  signal?: AbortSignal | undefined;
  as?: string; // a key that is not yet the page's own
}

async function ask(address: string, { method, headers = {}, body, signal, as }: Wanted): Promise<Response> {
  const own = as ?? key();
  if (own === null) throw new ApiError(401, "key_missing", "There is no key to ask with.");
  const bounds = [AbortSignal.timeout(TIMEOUT_MS), ...(signal === undefined ? [] : [signal])];
  let answer: Response;
  try {
    answer = await fetch(address, {
      method,
      headers: { ...headers, Authorization: `Bearer ${own}` },
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.any(bounds),
      ...(body === undefined ? {} : { body }),
    });
  } catch (error) {
    if (signal?.aborted === true) throw error;
    throw new ApiError(0, "unreachable", navigator.onLine ? "The desk does not answer." : "This device is offline.");
  }
  if (answer.ok || answer.status === 304) return answer;
  const failure = await failed(answer);
  if (failure.status === 401 && as === undefined && own === key()) forget("refused");
  throw failure;
}

interface ErrorBody {
  error?: { code?: string; message?: string; request_id?: string };
}

async function failed(answer: Response): Promise<ApiError> {
  const wait = Number(answer.headers.get("Retry-After"));
  const body = (await answer.json().catch(() => ({}))) as ErrorBody;
  const { code = `http_${answer.status}`, message = "The desk cannot answer", request_id = null } = body.error ?? {};
  return new ApiError(answer.status, code, message, request_id, Number.isFinite(wait) && wait > 0 ? wait : null);
}

async function document<T>(answer: Response): Promise<T> {
  try {
    return (await answer.json()) as T;
  } catch {
    throw new ApiError(answer.status, "not_json", "The desk's answer cannot be read.");
  }
}

export interface Reading {
  signal?: AbortSignal;
  as?: string;
}

async function get<T>(path: string, params: Query = {}, { signal, as }: Reading = {}): Promise<T> {
  const address = href(path, params);
  const kept = as === undefined ? answers.get(address) : undefined;
  const headers: Record<string, string> = kept === undefined ? {} : { "If-None-Match": kept.tag };
  const answer = await ask(address, { method: "GET", headers, signal, ...(as === undefined ? {} : { as }) });
  if (answer.status === 304 && kept !== undefined) return kept.body as T;
  const body = await document<T>(answer);
  const tag = answer.headers.get("ETag");
  answers.delete(address);
  if (tag !== null && as === undefined) answers.set(address, { tag, body });
  for (const oldest of answers.keys()) {
    if (answers.size <= KEPT_MAX) break;
    answers.delete(oldest);
  }
  return body;
}

async function send<T>(method: string, path: string, body: unknown, headers: Record<string, string> = {}): Promise<T> {
  const json = { "Content-Type": "application/json", ...headers };
  const answer = await ask(path, { method, headers: json, body: JSON.stringify(body) });
  return answer.status === 204 ? (undefined as T) : document<T>(answer);
}

// A file to keep: the key travels in a header, so the browser cannot fetch it by itself.
async function download(path: string, params: Query = {}): Promise<void> {
  const answer = await ask(href(path, params), { method: "GET" });
  const name = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") ?? "")?.[1] ?? "fillbook-export";
  const address = URL.createObjectURL(await answer.blob());
  const link = window.document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

export const api = {
  get,
  post: <T>(path: string, body: unknown, headers?: Record<string, string>): Promise<T> => send<T>("POST", path, body, headers),
  patch: <T>(path: string, body: unknown, headers?: Record<string, string>): Promise<T> => send<T>("PATCH", path, body, headers),
  download,
};
