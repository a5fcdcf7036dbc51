import { pino } from 'pino'

import type { Meter, SinkDeps, SinkDevice, SinkRequest } from '../../gateway/sinks/sink.ts'
import { systemClock, systemRandom } from '../../node/env.ts'

export interface TestDeps extends SinkDeps {
  readonly asked: SinkRequest[]
}

export function sinkDeps(more: Partial<SinkDeps> = {}): TestDeps {
  const asked: SinkRequest[] = []
  const meter: Meter = { watch: () => undefined, told: () => undefined }
  return {
    asked,
    clock: systemClock,
    random: systemRandom,
    log: pino({ level: 'silent' }),
    meter,
    gateway: { id: 'gateway-id', name: 'gate', version: '1.2.3' },
    ask: async (request) => {
      asked.push(request)
      return await Promise.resolve({ status: 'done' as const })
    },
    ...more,
  }
}

export function sinkDevice(name: string, more: Partial<SinkDevice> = {}): SinkDevice {
  return { id: `id-of-${name}`, name, state: 'online', fields: [], commands: [], ...more }
}
