/** What one row of the table of routes is made of. */
import type * as v from 'valibot'

import type { NodeView } from './view.ts'

/** What the HTTP side itself keeps: links to the dashboard. */
export interface DashboardLinks {
  /** @throws NodeError NODE_CONFLICT where the dashboard is off */
  link(): { readonly url: string; readonly expiresAt: number }
}

export interface RouteContext<Body, Query> {
  readonly view: NodeView
  readonly dashboard: DashboardLinks
  /** The parts of the path in braces; empty where there are none. */
  readonly ref: string
  readonly name: string
  readonly body: Body
  readonly query: Query
  /** Aborts when the client is gone or the device stops. */
  readonly signal: AbortSignal
}

type Schema = v.GenericSchema<unknown, unknown>
export type Answer = unknown

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Below /api/v1, with at most one `{ref}` and one `{name}`. */
  readonly path: string
  readonly summary: string
  readonly body?: Schema
  readonly query?: Schema
  /**
   * `call` is a CallView, with status 202 for as long as nobody knows what came of it. `ndjson`,
   * `events`, `bytes` and `file` are streams.
   */
  readonly answer: 'json' | 'call' | 'none' | 'ndjson' | 'events' | 'bytes' | 'file'
  /** How long a body may be; 64 KiB where it is not given. */
  readonly maxBodyBytes?: number
  /** Not for the dashboard: only the Unix socket has it. */
  readonly socketOnly?: boolean
  readonly handle: (context: RouteContext<never, never>) => Answer
}

interface TypedRoute<B extends Schema, Q extends Schema> extends Omit<Route, 'handle'> {
  readonly body?: B
  readonly query?: Q
  readonly handle: (context: RouteContext<v.InferOutput<B>, v.InferOutput<Q>>) => Answer
}

export function route<B extends Schema, Q extends Schema>(row: TypedRoute<B, Q>): Route {
  return row
}

export const API_PREFIX = '/api/v1'
