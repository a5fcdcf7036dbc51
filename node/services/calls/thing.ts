/** What a device's calls act on. The parts that move something satisfy it; this file has no part. */
import type { Json, ThingModel } from '../../../protocols/calls/index.ts'
import { instead, wordedError } from '../../../protocols/errors.ts'

export type ChangeKind = 'property' | 'event'

export interface Thing {
  /** What may be called now. The same object until `onModel` tells of another. */
  model(): ThingModel
  /** Call `listener` with every new value of a property and every event. Returns what stops it. */
  onChange(listener: (name: string, value: Json, kind: ChangeKind) => void): () => void
  /** Call `listener` when `model` gives another. Returns what stops it. */
  onModel(listener: () => void): () => void
  /** @throws ThingError */
  read(name: string, signal: AbortSignal): Promise<Json>
  /** Resolves once it is done. `value` was checked against the model. @throws ThingError */
  write(name: string, value: Json, signal: AbortSignal): Promise<void>
  /** As `write`; what it resolves to is the result. @throws ThingError */
  invoke(name: string, args: Json | undefined, signal: AbortSignal): Promise<Json | undefined>
}

/** The message of such an error is for whoever called, and so never has words of another program. */
export const THING_ERRORS = {
  THING_FAILED: 'it did not work',
  THING_UNKNOWN: 'there is nothing of this name',
  THING_INVALID: 'the value does not fit',
  THING_BUSY: 'it is busy',
} as const

export class ThingError extends wordedError(THING_ERRORS, instead) {}
