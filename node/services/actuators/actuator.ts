/** What moves, switches or sets something: one interface for all kinds. */
import type { Json } from '../../../protocols/calls/index.ts'
import { instead, wordedError } from '../../../protocols/errors.ts'

export type Scalar = boolean | number | string

/** Where a driver puts what it hears by itself. */
export interface Tell {
  readonly value: (value: Scalar) => void
  /** It is connected, and waits for something to be said. */
  readonly ready: () => void
  readonly problem: (error: Error) => void
}

/** One property. Calls come one after the other. Errors are for people, without others' words. */
export interface Driver {
  readonly read?: ((signal: AbortSignal) => Promise<Scalar>) | undefined
  readonly write?: ((value: Scalar, signal: AbortSignal) => Promise<void>) | undefined
  /** Until `signal` aborts. Where it ends or rejects before, it is started again, later each time. */
  readonly run?: ((tell: Tell, signal: AbortSignal) => Promise<void>) | undefined
  readonly close?: () => Promise<void>
}

/** One action. `args` were checked. */
export type Deed = (args: Json | undefined, signal: AbortSignal) => Promise<Json | undefined>

export const ACTUATOR_ERRORS = {
  ACTUATOR_FAILED: 'it did not work',
  ACTUATOR_UNKNOWN: 'there is nothing of this name',
  ACTUATOR_INVALID: 'the value does not fit',
} as const

/** The message never has words of another program, and so may be told to whoever called. */
export class ActuatorError extends wordedError(ACTUATOR_ERRORS, instead) {}

/** Errors that this project made for people are told; of all others only that there was one. */
export function asActuatorError(error: unknown): ActuatorError {
  if (error instanceof ActuatorError) return error
  const plain =
    error instanceof Error && [Error, RangeError].includes(error.constructor as ErrorConstructor)
  return new ActuatorError('ACTUATOR_FAILED', plain ? error.message : undefined, { cause: error })
}
