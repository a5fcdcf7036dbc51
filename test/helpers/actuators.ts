import assert from 'node:assert/strict'

import pino from 'pino'

import { readConfigText } from '../../node/config-file.ts'
import { systemClock, systemRandom } from '../../node/env.ts'
import { createBrokers } from '../../node/machine/brokers.ts'
import { startActuators, type Actuators } from '../../node/services/actuators/index.ts'
import type { Json } from '../../protocols/calls/index.ts'
import type { Tree } from './sensors.ts'

export interface Machine extends AsyncDisposable {
  readonly actuators: Actuators
  read(name: string): Promise<Json>
  write(name: string, value: Json): Promise<void>
  invoke(name: string, args?: Json): Promise<Json | undefined>
  /** The next value that a property or an event tells, as `name=value`; each is given once. */
  next(): Promise<string>
  /** Resolves when `holds`, asked again after everything that is told. */
  until(holds: () => boolean): Promise<void>
}

/** What the text of a settings file makes of a machine whose /sys and /usr are in `files`. */
export function machineOf(toml: string, files: Tree): Machine {
  const { things, problems } = readConfigText(toml)
  assert.deepEqual(problems, [])
  const stop = new AbortController()
  const clock = systemClock
  const actuators = startActuators(
    {
      settings: things,
      folder: files.root,
      root: files.root,
      clock,
      brokers: createBrokers({ clock, random: systemRandom }),
      log: pino({ level: 'silent' }),
    },
    stop.signal,
  )
  const told: string[] = []
  let wake = Promise.withResolvers<void>()
  const woken = (): void => {
    wake.resolve()
    wake = Promise.withResolvers()
  }
  for (const kind of ['property', 'event'] as const) {
    actuators.events.on(kind, ({ name, value }) => {
      told.push(`${name}=${JSON.stringify(value)}`)
      woken()
    })
  }
  actuators.events.on('model', woken)
  actuators.events.on('problem', woken)
  const { signal } = stop
  return {
    actuators,
    read: (name) => actuators.read(name, signal),
    write: (name, value) => actuators.write(name, value, signal),
    invoke: (name, args) => actuators.invoke(name, args, signal),
    async next() {
      for (;;) {
        const first = told.shift()
        if (first !== undefined) return first
        await wake.promise
      }
    },
    async until(holds) {
      while (!holds()) await wake.promise
    },
    async [Symbol.asyncDispose]() {
      await actuators[Symbol.asyncDispose]()
      stop.abort(new Error('enough'))
    },
  }
}
