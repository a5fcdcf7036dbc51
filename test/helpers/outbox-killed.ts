/**
 * Runs alone, until it is killed: goes on to put packs into the outbox of the first argument, up to
 * the number of the second, and sends them to a sink that prints the number of each. Started by
 * outbox.test.ts.
 */
import { writeSync } from 'node:fs'
import process from 'node:process'

import { pino } from 'pino'

import { openOutbox } from '../../gateway/outbox/outbox.ts'
import type { Sink } from '../../gateway/sinks/sink.ts'
import { systemClock, systemRandom } from '../../node/env.ts'
import { packOf } from './outbox.ts'

const [, , path = '', total = ''] = process.argv
const outbox = openOutbox(
  { path, maxBytes: 2 ** 30 },
  {
    clock: systemClock,
    random: systemRandom,
    log: pino({ level: 'silent' }),
    sign: (_, payload) => payload,
  },
)
const finished = Promise.withResolvers<void>()
const sink: Sink = {
  name: 'out',
  keepsTime: true,
  async send(items) {
    for (const { id } of items) {
      const seq = id.split('/')[1]
      writeSync(1, `${seq}\n`)
      if (seq === total) finished.resolve()
    }
    return await Promise.resolve(items.map(() => 'sent' as const))
  },
  async [Symbol.asyncDispose]() {},
}
outbox.attach(sink, { maxAgeMs: Infinity, mayLeave: () => true })
for (let seq = (outbox.cursor().get('elm') ?? 0) + 1; seq <= Number(total); seq++) {
  await outbox.put([packOf('elm', seq, ['out'])], new AbortController().signal)
}
// The last number may have gone out before a kill.
if (outbox.state()[0]?.items === 0) finished.resolve()
await finished.promise
await outbox[Symbol.asyncDispose]()
writeSync(1, 'done\n')
