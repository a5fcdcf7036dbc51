/** Readings and calls between two devices of a swarm, at a steady pace, as a program on them sees both. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout } from 'node:timers/promises'

import type { ApiClient } from '../../node/api/client.ts'

/** One sensor alone may speak once a second. */
const SENSORS = 30
const EVERY_MS = 50
const [MEASURES, WATCHES] = [1, 2]

export interface Taken {
  /** Milliseconds each. */
  readonly readings: readonly number[]
  readonly calls: readonly number[]
}

/** One device measures; the next one watches it, and has a property that the first one writes. */
export function trafficSettings(index: number, dir: string): string {
  if (index === MEASURES) {
    return Array.from({ length: SENSORS }, (_, i) => `[sensor.live${i}]\ntype = "push"\n`).join(
      '\n',
    )
  }
  if (index !== WATCHES) return ''
  const file = path.join(dir, 'level')
  writeFileSync(file, '0')
  return `[property.level]\ntype = "file"\npath = "${file}"\nvalue = "integer"\n`
}

export interface Traffic {
  /** What was measured since the last time. */
  taken(): Taken
  stop(): Promise<void>
}

export async function beginTraffic(clients: readonly ApiClient[]): Promise<Traffic> {
  const [from, to] = [clients[MEASURES], clients[WATCHES]]
  if (from === undefined || to === undefined) throw new Error('too few devices')
  const stop = new AbortController()
  const [fromId, toId] = [(await from.status()).device.id, (await to.status()).device.id]
  let readings: number[] = []
  let calls: number[] = []
  const sentMs = new Map<number, number>()

  async function watch(at: ApiClient): Promise<void> {
    for await (const { value } of at.watch({ device: fromId, sensor: 'live*' }, stop.signal)) {
      const sent = sentMs.get(value)
      if (sent !== undefined) readings.push(performance.now() - sent)
      sentMs.delete(value)
    }
  }

  async function measure(at: ApiClient): Promise<void> {
    for (let n = 1; !stop.signal.aborted; n++) {
      sentMs.set(n, performance.now())
      await at.push([{ sensor: `live${n % SENSORS}`, value: n }])
      await setTimeout(EVERY_MS, undefined, { signal: stop.signal })
    }
  }

  async function call(at: ApiClient): Promise<void> {
    for (let n = 1; !stop.signal.aborted; n++) {
      const startedMs = performance.now()
      await at.writeProperty({ ref: toId, name: 'level' }, n % 100, {}, stop.signal)
      calls.push(performance.now() - startedMs)
      await setTimeout(EVERY_MS, undefined, { signal: stop.signal })
    }
  }

  const running = [watch(to), measure(from), call(from)].map((one) =>
    one.catch((error: unknown) => {
      if (!stop.signal.aborted) throw error
    }),
  )
  const failed = Promise.all(running)
  failed.catch((error: unknown) => stop.abort(error))
  return {
    taken() {
      stop.signal.throwIfAborted()
      const taken = { readings, calls }
      readings = []
      calls = []
      return taken
    },
    async stop() {
      stop.abort(new Error('measured'))
      await failed
    },
  }
}
