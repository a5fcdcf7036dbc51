/** Errors as RFC 9457 problem documents: what a client may know, and nothing of the inside. */
import { CodedError } from '../../protocols/errors.ts'
import { NODE_ERRORS, NodeError, type NodeErrorCode } from '../errors.ts'

export const PROBLEM_TYPE = 'application/problem+json'

export interface Problem {
  /** HTTP status. */
  readonly status: number
  /** Stable; see node/errors.ts and each protocol's SPEC.md. */
  readonly code: string
  /** What happened. */
  readonly title: string
  /** What is safe and what to do next. */
  readonly detail?: string
}

/** Refusals of the HTTP layer itself, before any device code is asked. */
export const HTTP_PROBLEMS = {
  HTTP_BAD_REQUEST: { status: 400, title: 'The request is not what this path takes.' },
  HTTP_NO_SESSION: { status: 401, title: 'Open the dashboard by a fresh link: kith dashboard' },
  HTTP_FORBIDDEN: { status: 403, title: 'This request may not come from there.' },
  HTTP_NOT_FOUND: { status: 404, title: 'There is nothing at this path.' },
  HTTP_TOO_LARGE: { status: 413, title: 'The request is too large.' },
  HTTP_NOT_JSON: { status: 415, title: 'The request must be application/json.' },
  HTTP_WRONG_HOST: { status: 421, title: 'This device does not answer to that host name.' },
} as const

export type HttpProblemCode = keyof typeof HTTP_PROBLEMS

export class HttpError extends CodedError<HttpProblemCode> {
  constructor(code: HttpProblemCode, detail?: string) {
    super(code, detail ?? '')
  }
}

/** An error without a code is a defect here: the client learns only that. */
export function problemOf(error: unknown): Problem {
  if (error instanceof NodeError) {
    const { status } = NODE_ERRORS[error.code]
    return withDetail({ status, code: error.code, title: error.message }, error.hint)
  }
  if (error instanceof HttpError) {
    return withDetail({ ...HTTP_PROBLEMS[error.code], code: error.code }, error.message)
  }
  if (error instanceof CodedError) {
    return { status: 409, code: String(error.code), title: error.message }
  }
  return {
    status: NODE_ERRORS.NODE_INTERNAL.status,
    code: 'NODE_INTERNAL',
    title: 'Something went wrong inside the device.',
    detail: 'Its log has the details.',
  }
}

function withDetail(problem: Problem, detail: string | undefined): Problem {
  return detail === undefined || detail === '' ? problem : { ...problem, detail }
}

/** A problem that the device answered, on the client's side. */
export class ApiError extends CodedError {
  readonly hint: string | undefined
  readonly status: number

  constructor(problem: Problem) {
    super(problem.code, problem.title)
    this.hint = problem.detail
    this.status = problem.status
  }
}

export function isNodeErrorCode(code: string): code is NodeErrorCode {
  return Object.hasOwn(NODE_ERRORS, code)
}
