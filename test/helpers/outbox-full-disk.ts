/**
 * Runs alone on a small file system of its own, whose folder is the argument, and fills it for real.
 * Prints the name of each check that held. Started by outbox-disk.test.ts.
 */
import assert from 'node:assert/strict'
import { rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'

import { pino } from 'pino'

import { openOutbox } from '../../gateway/outbox/outbox.ts'
import { systemRandom } from '../../node/env.ts'
import { virtualClock } from './clock.ts'
import { packOf } from './outbox.ts'

const root = process.argv[2] ?? ''
const filler = join(root, 'filler')
const never = new AbortController().signal
const clock = virtualClock()
const outbox = openOutbox(
  { path: join(root, 'outbox.db'), maxBytes: 2 ** 30 },
  { clock, random: systemRandom, log: pino({ level: 'silent' }), sign: (_, payload) => payload },
)
const got: string[] = []

await outbox.put([packOf('elm', 1, ['a'], 500)], never)
const { bavail, bsize } = statfsSync(root)
writeFileSync(filler, new Uint8Array(bavail * bsize))

let done = 0
const putting = (async () => {
  for (let seq = 2; seq <= 40; seq++) {
    await outbox.put([packOf('elm', seq, ['a'], 500)], never)
    done = seq
  }
})()
await clock.advance(10_000)
assert.ok(done < 40, `${done}`)
assert.equal(outbox.cursor().get('elm'), Math.max(1, done))
process.stdout.write('takes no more from the mesh\n')

rmSync(filler)
await clock.advance(10_000)
await putting
assert.equal(outbox.cursor().get('elm'), 40)
outbox.attach(
  {
    name: 'a',
    keepsTime: true,
    async send(items) {
      got.push(...items.map(({ id }) => id))
      return await Promise.resolve(items.map(() => 'sent' as const))
    },
    async [Symbol.asyncDispose]() {},
  },
  { maxAgeMs: Infinity, mayLeave: () => true },
)
await clock.advance(10_000)
assert.equal(got.length, 40 * 500)
assert.equal(new Set(got).size, got.length)
process.stdout.write('goes on, with nothing lost\n')
await outbox[Symbol.asyncDispose]()
