/** What a device offers to be read, written, invoked and observed. Types alone. SPEC.md "Model". */
import type { Json } from './json.ts'

/** The part of a DataSchema of WoT Thing Description 1.1 (section 5.3.2) that is understood. */
export interface DataSchema {
  readonly type?: 'boolean' | 'integer' | 'number' | 'string' | 'object' | 'array' | 'null'
  readonly title?: string
  readonly description?: string
  readonly unit?: string
  readonly enum?: readonly Json[]
  readonly const?: Json
  readonly minimum?: number
  readonly maximum?: number
  readonly multipleOf?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly items?: DataSchema
  readonly minItems?: number
  readonly maxItems?: number
  readonly properties?: Readonly<Record<string, DataSchema>>
  readonly required?: readonly string[]
  readonly readOnly?: boolean
  readonly writeOnly?: boolean
}

export interface PropertyModel {
  readonly schema: DataSchema
  readonly description?: string
  readonly writable: boolean
  readonly readable: boolean
  readonly observable: boolean
  /** While a sleeper sleeps, only the last write counts. */
  readonly coalesce?: boolean
  /** The sensor whose reading this is. */
  readonly sensor?: string
}

export interface ActionModel {
  readonly input?: DataSchema
  readonly output?: DataSchema
  readonly description?: string
  readonly safe?: boolean
  readonly idempotent?: boolean
  /** While a sleeper sleeps, only the last call counts. */
  readonly coalesce?: boolean
  /** Names of properties that it sets. */
  readonly changes?: readonly string[]
  /** Longest time that it may take. */
  readonly deadlineMs?: number
}

export interface EventModel {
  readonly data?: DataSchema
  readonly description?: string
}

export interface ThingModel {
  readonly title: string
  readonly description?: string
  readonly properties: Readonly<Record<string, PropertyModel>>
  readonly actions: Readonly<Record<string, ActionModel>>
  readonly events: Readonly<Record<string, EventModel>>
}

/** Names of properties, actions and events. */
export const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
