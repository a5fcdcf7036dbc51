/** Properties that a program, an HTTP server or a device behind an MQTT broker has. */
import type { PropertyOf } from '../../config-properties.ts'
import type { Clock } from '../../env.ts'
import type { Brokers } from '../../machine/brokers.ts'
import { askHttp } from '../../machine/http.ts'
import { outputOf } from '../../machine/program.ts'
import { jsonAt } from '../../machine/values.ts'
import { asError } from '../../errors.ts'
import type { Driver, Scalar, Tell } from './actuator.ts'
import {
  intoArguments,
  intoBody,
  intoMessage,
  intoUrl,
  readValue,
  worded,
  type Words,
} from './values.ts'

interface Deps {
  readonly clock: Clock
  readonly brokers: Brokers
}

function valueMap(value: Scalar, words: Words): ReadonlyMap<string, Scalar> {
  return new Map([['value', worded(value, words)]])
}

export function commandDriver(settings: PropertyOf<'command'>, { clock }: Deps): Driver {
  const { set, get, pointer, timeout } = settings
  return {
    read:
      get &&
      (async (signal) => {
        const text = await outputOf({ argv: get, clock }, timeout, signal)
        return readValue(pointer === undefined ? text : jsonAt(text, pointer), settings)
      }),
    write:
      set &&
      (async (value, signal) => {
        const argv = intoArguments(set, valueMap(value, settings))
        await outputOf({ argv, clock }, timeout, signal)
      }),
  }
}

export function httpDriver(settings: PropertyOf<'http'>, { clock }: Deps): Driver {
  const { url, state_url: state, method, body, content_type: type, pointer = '' } = settings
  const { timeout: timeoutMs, token_file: tokenFile, ca_file: caFile } = settings
  const how = { timeoutMs, tokenFile, caFile, clock }
  return {
    read:
      state === undefined
        ? undefined
        : async (signal) =>
            readValue(jsonAt(await askHttp({ ...how, url: state }, signal), pointer), settings),
    write:
      url === undefined
        ? undefined
        : async (value, signal) => {
            const values = valueMap(value, settings)
            const sent =
              body === undefined ? {} : { body: { text: intoBody(body, type, values), type } }
            await askHttp({ ...how, ...sent, method, url: intoUrl(url, values) }, signal)
          },
  }
}

/** What the device behind the broker says of itself counts, whoever set it. */
export function mqttDriver(settings: PropertyOf<'mqtt'>, { brokers }: Deps): Driver {
  const { topic, payload = '{value}', retain, state_topic: stateTopic, pointer } = settings
  let newest: Scalar | undefined

  function heard(text: string, { value, problem }: Tell): void {
    try {
      const raw = pointer === undefined ? text : jsonAt(text, pointer)
      // A device reports what has changed: another message may have the value.
      if (raw === undefined) return
      newest = readValue(raw, settings)
      value(newest)
    } catch (error) {
      problem(asError(error))
    }
  }

  return {
    read:
      stateTopic === undefined
        ? undefined
        : async () => {
            if (newest !== undefined) return newest
            throw new Error('nothing was heard of it since the connection to the broker began')
          },
    write:
      topic === undefined
        ? undefined
        : (value, signal) =>
            brokers.publish(
              settings,
              { topic, payload: intoMessage(payload, valueMap(value, settings)), retain },
              signal,
            ),
    async run(tell, signal) {
      const onMessage = ({ payload: bytes }: { payload: Buffer }): void =>
        heard(bytes.toString('utf8'), tell)
      const listener = { topic: stateTopic, onMessage, onReady: tell.ready }
      try {
        await brokers.listen(settings, listener, signal)
      } finally {
        newest = undefined
      }
    },
  }
}
