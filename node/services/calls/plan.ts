/** What a call is about, found in the model of this device, and its arguments held against it. */
import {
  compileInput,
  type ActionModel,
  type Call,
  type Check,
  type DataSchema,
  type Json,
  type PropertyModel,
  type ThingModel,
} from '../../../protocols/calls/index.ts'
import type { Refusal } from './refusal.ts'
import type { Thing } from './thing.ts'

export interface Plan {
  readonly run: (signal: AbortSignal) => Promise<Json | undefined>
  /** Nothing changes by it. */
  readonly reads: boolean
  /** Of several that waited, only the last counts. */
  readonly coalesce: boolean
  readonly deadlineMs: number
}

export type Planner = (call: Pick<Call, 'verb' | 'name' | 'args'>) => Plan | Refusal

/** Longest time for what does not say how long it may take. */
const DEADLINE_MS = 10_000

/** Checks are made once per schema. */
export function planner(thing: Thing): Planner {
  const checks = new WeakMap<object, Check>()

  function check(schema: DataSchema | undefined, value: Json | undefined): Refusal | undefined {
    let checked = schema === undefined ? undefined : checks.get(schema)
    if (checked === undefined) {
      checked = compileInput(schema)
      if (schema !== undefined) checks.set(schema, checked)
    }
    const detail = checked(value)
    return detail === undefined ? undefined : { status: 'invalid', detail }
  }

  function invoke(name: string, args: Json | undefined, model: ThingModel): Plan | Refusal {
    const action = own<ActionModel>(model.actions, name)
    if (action === undefined) return unknown('There is no action of this name.')
    const { coalesce = false, deadlineMs = DEADLINE_MS, input } = action
    const wrong = check(input, args)
    if (wrong !== undefined) return wrong
    const value = args === undefined && input?.type === 'object' ? {} : args
    const run: Plan['run'] = (signal) => thing.invoke(name, value, signal)
    return { run, reads: false, coalesce, deadlineMs }
  }

  return ({ verb, name, args }) => {
    const model = thing.model()
    if (verb === 'invoke') return invoke(name, args, model)
    const property = own<PropertyModel>(model.properties, name)
    if (property === undefined) return unknown('There is no property of this name.')
    const { coalesce = false, readable, schema, writable } = property
    const rest = { coalesce, deadlineMs: DEADLINE_MS }
    if (verb === 'read') {
      if (!readable) return unknown('This property cannot be read.')
      return { run: (signal) => thing.read(name, signal), reads: true, ...rest }
    }
    if (verb !== 'write' || !writable) return unknown('This property cannot be written.')
    if (args === undefined) return { status: 'invalid', detail: 'There is nothing to write.' }
    const wrong = check(schema, args)
    if (wrong !== undefined) return wrong
    const run: Plan['run'] = async (signal) => {
      await thing.write(name, args, signal)
      return undefined
    }
    return { run, reads: false, ...rest }
  }
}

/** A name of a stranger is never looked up in a prototype. */
function own<T>(table: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined
}

function unknown(detail: string): Refusal {
  return { status: 'unknown', detail }
}
