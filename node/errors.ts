/**
 * Errors of the device itself, made for people: what happened, what is safe, what to do next. Each
 * code has one exit code for scripts and one HTTP status for the local API.
 */
import { CodedError } from '../protocols/errors.ts'

export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  notRunning: 3,
  denied: 4,
  notFound: 5,
  timeout: 6,
  queued: 7,
  again: 75,
} as const

export const NODE_ERRORS = {
  NODE_USAGE: { exit: EXIT.usage, status: 400 },
  NODE_CONFIG: { exit: EXIT.usage, status: 400 },
  NODE_NOT_RUNNING: { exit: EXIT.notRunning, status: 503 },
  NODE_DENIED: { exit: EXIT.denied, status: 403 },
  NODE_NOT_FOUND: { exit: EXIT.notFound, status: 404 },
  NODE_AMBIGUOUS: { exit: EXIT.notFound, status: 409 },
  NODE_TIMEOUT: { exit: EXIT.timeout, status: 504 },
  NODE_CONFLICT: { exit: EXIT.failed, status: 409 },
  NODE_NO_HOME: { exit: EXIT.failed, status: 409 },
  NODE_KEY_FILE: { exit: EXIT.failed, status: 500 },
  NODE_DATABASE: { exit: EXIT.failed, status: 500 },
  NODE_LOCKED: { exit: EXIT.failed, status: 409 },
  NODE_PAIRING: { exit: EXIT.failed, status: 409 },
  NODE_INTERNAL: { exit: EXIT.failed, status: 500 },
} as const

export type NodeErrorCode = keyof typeof NODE_ERRORS

/** `message` says what happened; `hint`, where there is one, what is safe and what to do next. */
export class NodeError extends CodedError<NodeErrorCode> {
  readonly hint: string | undefined

  constructor(code: NodeErrorCode, message: string, options?: ErrorOptions & { hint?: string }) {
    super(code, message, options)
    this.hint = options?.hint
  }
}

/** Whatever was thrown, as an Error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}
