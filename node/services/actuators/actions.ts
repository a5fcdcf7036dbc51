/** Actions that run a program, ask a server or send a message to a broker. */
import {
  formatJson,
  RESULT,
  type ActionModel,
  type DataSchema,
  type Json,
} from '../../../protocols/calls/index.ts'
import { argumentsOf, type ActionOf, type ActionSettings } from '../../config-actions.ts'
import type { Clock } from '../../env.ts'
import type { Brokers } from '../../machine/brokers.ts'
import { askHttp } from '../../machine/http.ts'
import { outputOf } from '../../machine/program.ts'
import { jsonAt } from '../../machine/values.ts'
import { ActuatorError, type Deed, type Scalar } from './actuator.ts'
import { intoArguments, intoBody, intoMessage, intoUrl, scalarOf, schemaOf } from './values.ts'

interface Deps {
  readonly clock: Clock
  readonly brokers: Brokers
}

type Outside = ActionOf<'command' | 'http' | 'mqtt'>

export function deedOf(settings: Outside, { clock, brokers }: Deps): Deed {
  switch (settings.type) {
    case 'command': {
      const { command, deadline } = settings
      return async (args, signal) => {
        const argv = intoArguments(command, valuesOf(settings, args))
        return resultOf(await outputOf({ argv, clock }, deadline, signal), settings)
      }
    }
    case 'http':
      return async (args, signal) => {
        const values = valuesOf(settings, args)
        const { method, body, content_type: type, deadline: timeoutMs } = settings
        const { token_file: tokenFile, ca_file: caFile } = settings
        const sent =
          body === undefined ? {} : { body: { text: intoBody(body, type, values), type } }
        const how = { timeoutMs, tokenFile, caFile, clock, method, ...sent }
        return resultOf(
          await askHttp({ ...how, url: intoUrl(settings.url, values) }, signal),
          settings,
        )
      }
    case 'mqtt':
      return async (args, signal) => {
        const { topic, payload = '', retain } = settings
        const message = intoMessage(payload, valuesOf(settings, args))
        await brokers.publish(settings, { topic, payload: message, retain }, signal)
        return undefined
      }
  }
}

/** Each argument by its name, as it was given or by default. */
function valuesOf(settings: Outside, args: Json | undefined): ReadonlyMap<string, Scalar> {
  const single = settings.input !== undefined
  const given = single ? { value: args } : ((args ?? {}) as Readonly<Record<string, Json>>)
  return new Map(
    Array.from(argumentsOf(settings), ([name, { default: usual }]) => [
      name,
      scalarOf((Object.hasOwn(given, name) ? given[name as 'value'] : undefined) ?? usual),
    ]),
  )
}

function resultOf(
  text: string,
  { output, pointer = '' }: Pick<ActionOf<'command'>, 'output' | 'pointer'>,
): Json | undefined {
  if (output === 'none') return undefined
  const result = (output === 'json' ? jsonAt(text, pointer) : text.toWellFormed().trim()) as Json
  try {
    formatJson(result, RESULT)
    return result
  } catch (cause) {
    throw new ActuatorError('ACTUATOR_FAILED', 'the answer is more than a receipt can hold', {
      cause,
    })
  }
}

export function actionModel(settings: ActionSettings): ActionModel {
  const { description, safe, idempotent, coalesce, deadline: deadlineMs } = settings
  const input = inputSchema(settings)
  return {
    safe,
    idempotent,
    coalesce,
    deadlineMs,
    ...(description === undefined ? {} : { description }),
    ...('property' in settings ? { changes: [settings.property] } : {}),
    ...(input === undefined ? {} : { input }),
    ...outputSchema(settings),
  }
}

function inputSchema(settings: ActionSettings): DataSchema | undefined {
  const all = argumentsOf(settings)
  if (all.size === 0) return undefined
  const single = 'input' in settings && settings.input !== undefined ? all.get('value') : undefined
  if (single !== undefined) return schemaOf(single)
  const entries = Array.from(all, ([name, one]) => [name, schemaOf(one)] as const)
  const required = Array.from(all)
    .filter(([, one]) => one.default === undefined)
    .map(([name]) => name)
  return {
    type: 'object',
    properties: Object.fromEntries(entries),
    ...(required.length > 0 ? { required } : {}),
  }
}

function outputSchema(settings: ActionSettings): { readonly output?: DataSchema } {
  if (settings.type === 'toggle') return { output: { type: 'boolean' } }
  if (!('output' in settings) || settings.output === 'none') return {}
  return { output: settings.output === 'text' ? { type: 'string' } : {} }
}
