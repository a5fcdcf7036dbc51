/**
 * One side of the benchmarks of calls in a process of its own: the real home, mesh, calls, rules and
 * actuators of a data folder, with a settings file beside it. Both sides read the kernel's monotonic
 * clock, which all processes share.
 *
 *   call-side.ts DATA-FOLDER PORT SETTINGS-FILE
 */
import { renameSync, writeFileSync } from 'node:fs'
import process from 'node:process'
import { setTimeout } from 'node:timers/promises'

import type { CallRecord, WantedCall } from '../../node/services/calls/index.ts'
import { openHome } from './home.ts'

const [dir = '', port = '0', configFile = ''] = process.argv.slice(2)
const PACED_MS = 10
/** Beyond the pace at which a polled file is looked at, and not in step with it. */
const CHANGES_MS = 150
const SPREAD_MS = 7

export type Wish =
  | { readonly type: 'call'; readonly verb: 'read' | 'write'; readonly count: number }
  | { readonly type: 'change'; readonly files: readonly string[]; readonly rounds: number }
  | { readonly type: 'executed' }

const stop = new AbortController()
const home = await openHome({ dir, port: Number(port), configFile }, stop.signal)
const executed: { name: string; atMs: number; bytes: number; answerBytes: number }[] = []
home.calls.events.on(
  'executed',
  (done) =>
    executed.push({
      name: done.name,
      atMs: nowMs(),
      bytes: done.call.bytes.length,
      answerBytes: done.receipt.bytes.length,
    }),
  stop.signal,
)
home.mesh.events.on('connect', () => process.send?.({ type: 'connected' }), stop.signal)
if (home.telemetry.sensors().some(({ name }) => name === 'position')) {
  await home.telemetry.first
  home.telemetry.push([{ sensor: 'position', value: 50 }])
}
if (home.mesh.peers().length > 0) process.send?.({ type: 'connected' })

process.on('message', (message) => void obey(message as Wish))
process.once('SIGTERM', () => {
  stop.abort(new Error('stopping'))
  void Promise.resolve(home[Symbol.asyncDispose]()).finally(() => process.exit(0))
})

async function obey(wish: Wish): Promise<void> {
  if (wish.type === 'call') await call(wish)
  else if (wish.type === 'change') await change(wish)
  else process.send?.({ type: 'executed', executed: executed.splice(0) })
}

/** One call after the other, each until its receipt is here and checked. */
async function call({ verb, count }: Extract<Wish, { type: 'call' }>): Promise<void> {
  const to = home.mesh.peers()[0]?.key
  if (to === undefined) throw new Error('nobody to call')
  const tookMs: number[] = []
  for (let i = 0; i < count; i++) {
    const args = verb === 'read' ? {} : { args: i % 100 }
    const name = verb === 'read' ? 'position' : 'level'
    const wanted: WantedCall = { to, verb, name, ...args }
    const startedMs = nowMs()
    const record = await home.calls.call(wanted, stop.signal)
    tookMs.push(nowMs() - startedMs)
    requireDone(record)
    await setTimeout(PACED_MS)
  }
  process.send?.({ type: 'called', tookMs })
}

function requireDone({ state, receipt }: CallRecord): void {
  if (receipt?.status === 'done') return
  throw new Error(`call: ${state} ${receipt?.status ?? ''} ${receipt?.detail ?? ''}`)
}

/** Each file says 1, then 0, and so on: half of it written in place, half put in its place. */
async function change({ files, rounds }: Extract<Wish, { type: 'change' }>): Promise<void> {
  const changed: { file: string; atMs: number }[] = []
  for (let round = 0; round < rounds; round++) {
    for (const [i, file] of files.entries()) {
      await setTimeout(CHANGES_MS + ((round * files.length + i) % 5) * SPREAD_MS)
      const atMs = nowMs()
      if (round % 2 === 0) writeFileSync(file, '1\n')
      else {
        writeFileSync(`${file}.new`, '1\n')
        renameSync(`${file}.new`, file)
      }
      changed.push({ file, atMs })
      await setTimeout(CHANGES_MS)
      writeFileSync(file, '0\n')
    }
  }
  process.send?.({ type: 'changed', changed })
}

function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
