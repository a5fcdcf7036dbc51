import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

import { pino } from 'pino'

import { openOutbox, type Outbox } from '../../gateway/outbox/outbox.ts'
import { SinkDown, type OutItem, type Outcome, type Sink } from '../../gateway/sinks/sink.ts'
import { decodeCbor } from '../../protocols/wire/index.ts'
import { virtualClock, type VirtualClock } from '../helpers/clock.ts'
import { outItem, packOf } from '../helpers/outbox.ts'
import { seededRandom } from '../helpers/random.ts'

const HOUR_MS = 3_600_000
const never = new AbortController().signal
const ALL = { maxAgeMs: 7 * 24 * HOUR_MS, mayLeave: () => true }

interface Far extends Sink {
  readonly got: OutItem[]
  away: boolean
  answer: (item: OutItem) => Outcome
}

function far(name: string, more: Partial<Sink> = {}): Far {
  const sink: Far = {
    name,
    keepsTime: true,
    got: [],
    away: false,
    answer: () => 'sent',
    async send(items) {
      if (sink.away) throw new SinkDown('nobody there')
      const stopped = new Set<string>()
      const outcomes = items.map((item) => {
        const outcome = stopped.has(item.deviceId) ? 'retry' : sink.answer(item)
        if (outcome === 'retry') stopped.add(item.deviceId)
        return outcome
      })
      sink.got.push(...items.filter((_, i) => outcomes[i] === 'sent'))
      return await Promise.resolve(outcomes)
    },
    async [Symbol.asyncDispose]() {},
    ...more,
  }
  return sink
}

const seqs = (items: readonly OutItem[], device: string): number[] =>
  items.filter(({ deviceId }) => deviceId === device).map(({ id }) => Number(id.split('/')[1]))
const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i)

describe('the outbox', () => {
  let folder: string
  let clock: VirtualClock
  let outbox: Outbox
  const signed: Uint8Array[] = []

  const open = (maxBytes = 2 ** 30): Outbox =>
    openOutbox(
      { path: join(folder, 'outbox.db'), maxBytes },
      {
        clock,
        random: seededRandom('outbox'),
        log: pino({ level: 'silent' }),
        sign: (kind, payload) => {
          assert.equal(kind, 'gateway-record')
          signed.push(payload)
          return payload
        },
      },
    )

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'kith-outbox-'))
    clock = virtualClock()
    signed.length = 0
    outbox = open()
  })
  afterEach(async () => {
    await outbox[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  })
  const reopen = async (maxBytes?: number): Promise<void> => {
    await outbox[Symbol.asyncDispose]()
    outbox = open(maxBytes)
  }

  it('sends what was put, in order, once, and remembers how far it took each device', async () => {
    const sink = far('a')
    await outbox.put([packOf('elm', 1, ['a']), packOf('oak', 7, ['a'], 3)], never)
    await reopen()
    await outbox.put([packOf('elm', 1, ['a']), packOf('elm', 2, ['a'])], never)
    outbox.attach(sink, ALL)
    await clock.advance(10)
    assert.deepEqual(seqs(sink.got, 'elm'), [1, 2])
    assert.deepEqual(
      seqs(sink.got, 'oak').map((seq) => seq),
      [7, 7, 7],
    )
    assert.deepEqual(
      [...outbox.cursor()].toSorted(([a], [b]) => (a < b ? -1 : 1)),
      [
        ['elm', 2],
        ['oak', 7],
      ],
    )
    assert.equal(outbox.state()[0]?.items, 0)
    assert.equal(outbox.state()[0]?.sent, 5)
    await reopen()
    const again = far('a')
    outbox.attach(again, ALL)
    await clock.advance(1000)
    assert.deepEqual(again.got, [])
  })

  it('keeps for a day what a sink that is away does not take, while the other goes on', async () => {
    const [down, up] = [far('down'), far('up')]
    down.away = true
    outbox.attach(down, ALL)
    outbox.attach(up, ALL)
    for (let hour = 1; hour <= 24; hour++) {
      await outbox.put([packOf('elm', hour, ['down', 'up'])], never)
      await clock.advance(HOUR_MS)
      assert.equal(up.got.length, hour)
    }
    assert.equal(down.got.length, 0)
    assert.match(outbox.state()[0]?.down ?? '', /nobody there/)
    down.away = false
    await clock.advance(60_001)
    assert.deepEqual(seqs(down.got, 'elm'), range(1, 24))
    assert.equal(outbox.state()[0]?.down, undefined)
    assert.deepEqual(down.got[0], outItem('elm', 1, 0), 'with the original time')
  })

  it('lets what is new go first where the sink wants it, and calls the rest late', async () => {
    const sink = far('a', { newFirst: true })
    sink.away = true
    outbox.attach(sink, ALL)
    for (const seq of range(1, 1200)) await outbox.put([packOf('elm', seq, ['a'])], never)
    await clock.advance(HOUR_MS)
    await outbox.put([packOf('elm', 1201, ['a'])], never)
    sink.away = false
    sink.answer = () => {
      if (sink.got.length === 0) void outbox.put([packOf('elm', 1202, ['a'])], never)
      return 'sent'
    }
    await clock.advance(60_001)
    const late = sink.got.filter((item) => item.late === true)
    const fresh = sink.got.filter((item) => item.late !== true)
    assert.deepEqual(seqs(late, 'elm'), range(1, 1201))
    assert.deepEqual(seqs(fresh, 'elm'), [1202])
    assert.ok(sink.got.findIndex(({ id }) => id === 'elm/1202/0') <= 500)
  })

  it('holds back the device alone whose item is to be tried again, and sets it aside in the end', async () => {
    const sink = far('a')
    sink.answer = ({ id }) =>
      id === 'elm/1/0' ? 'retry' : id === 'oak/1/0' ? { poison: 'too strange' } : 'sent'
    outbox.attach(sink, ALL)
    await outbox.put(
      [1, 2].flatMap((seq) => ['elm', 'oak'].map((d) => packOf(d, seq, ['a']))),
      never,
    )
    await clock.advance(10)
    assert.deepEqual(seqs(sink.got, 'oak'), [2])
    assert.deepEqual(seqs(sink.got, 'elm'), [])
    await clock.advance(HOUR_MS)
    assert.deepEqual(seqs(sink.got, 'elm'), [2])
    const aside = outbox.asides('a').map(({ why, item }) => [item.id, why])
    assert.deepEqual(aside, [
      ['oak/1/0', 'too strange'],
      ['elm/1/0', 'not taken in 10 tries'],
    ])
  })

  it('finds the one item that a sink breaks on', async () => {
    const sink = far('a')
    sink.answer = ({ id }) => {
      if (id === 'elm/5/0') throw new TypeError('broken')
      return 'sent'
    }
    outbox.attach(sink, ALL)
    await outbox.put(
      range(1, 9).map((seq) => packOf('elm', seq, ['a'])),
      never,
    )
    await clock.advance(HOUR_MS)
    assert.deepEqual(seqs(sink.got, 'elm'), [1, 2, 3, 4, 6, 7, 8, 9])
    assert.match(outbox.asides('a')[0]?.why ?? '', /failed 10 times: broken/)
  })

  it('drops the oldest of the sink that has most, with a signed gap that counts', async () => {
    await reopen(100_000)
    await outbox.put([packOf('oak', 1, ['small'])], never)
    for (const seq of range(1, 1000)) await outbox.put([packOf('elm', seq, ['big'])], never)
    const [big, small] = outbox.state()
    assert.ok((big?.bytes ?? 0) + (small?.bytes ?? 0) <= 100_000)
    assert.equal(small?.items, 1)
    const [gap, ...others] = outbox.gaps()
    assert.ok(gap !== undefined && big !== undefined)
    assert.deepEqual(others, [], 'one row, made longer')
    const { sink: name, device, why, fromSeq, toSeq, items, bytes, fromMs, toMs } = gap
    assert.deepEqual([name, device, why, fromSeq], ['big', 'elm', 'room', 1])
    assert.equal(items, big.dropped)
    assert.equal(toSeq, 1000 - big.items)
    const limits = { maxBytes: 1000, maxDepth: 2, maxItems: 20 }
    const payload = ['gap', name, device, why, fromSeq, toSeq, items, bytes, fromMs, toMs]
    assert.deepEqual(decodeCbor(gap.signed, limits), payload)
    const sink = far('big')
    outbox.attach(sink, ALL)
    await clock.advance(10)
    assert.deepEqual(seqs(sink.got, 'elm'), range(toSeq + 1, 1000))
  })

  it('drops what is too old, but not because the clock was set', async () => {
    const sink = far('a')
    sink.away = true
    outbox.attach(sink, { maxAgeMs: 2 * HOUR_MS, mayLeave: () => true })
    await outbox.put([packOf('elm', 1, ['a'])], never)
    await clock.advance(HOUR_MS)
    clock.setWall(clock.now() + 1000 * HOUR_MS)
    await outbox.put([packOf('elm', 2, ['a'])], never)
    await clock.advance(1000)
    assert.equal(outbox.state()[0]?.items, 2)
    await clock.advance(HOUR_MS + 2 * 60_000)
    assert.equal(outbox.state()[0]?.items, 1)
    assert.deepEqual(
      outbox.gaps().map(({ why, toSeq, items }) => [why, toSeq, items]),
      [['age', 1, 1]],
    )
  })

  it('sends nothing that may not leave any more', async () => {
    const sink = far('a')
    await outbox.put([packOf('elm', 1, ['a']), packOf('oak', 1, ['a'])], never)
    outbox.attach(sink, { ...ALL, mayLeave: ({ deviceId }) => deviceId === 'oak' })
    await clock.advance(10)
    assert.deepEqual(seqs(sink.got, 'oak'), [1])
    assert.deepEqual(seqs(sink.got, 'elm'), [])
    assert.equal(outbox.gaps()[0]?.why, 'policy')
  })

  it('drops what waits for a sink that is not there any more', async () => {
    await outbox.put([packOf('elm', 1, ['a', 'b'])], never)
    outbox.keepOnly(['b'])
    assert.deepEqual(
      outbox.state().map(({ sink, items }) => [sink, items]),
      [
        ['a', 0],
        ['b', 1],
      ],
    )
    assert.equal(outbox.gaps()[0]?.why, 'sink-removed')
  })

  it('gives a sink that takes slowly no more than one batch at a time, and drops none of that', async () => {
    await reopen(60_000)
    const taken: (() => void)[] = []
    let most = 0
    const sink = far('slow', {
      async send(items) {
        most = Math.max(most, items.length)
        await new Promise<void>((resolve) => taken.push(resolve))
        sink.got.push(...items)
        return items.map(() => 'sent' as const)
      },
    })
    const stop = outbox.attach(sink, ALL)
    for (const seq of range(1, 200)) await outbox.put([packOf('elm', seq, ['slow'])], never)
    await clock.advance(10)
    for (const seq of range(201, 2000)) await outbox.put([packOf('elm', seq, ['slow'])], never)
    while (outbox.state()[0]?.items !== 0) {
      taken.shift()?.()
      await clock.advance(10)
    }
    assert.ok(most <= 500)
    const [counts] = outbox.state()
    assert.equal((counts?.sent ?? 0) + (counts?.dropped ?? 0), 2000)
    assert.equal(sink.got.length, counts?.sent)
    assert.equal(new Set(sink.got.map(({ id }) => id)).size, sink.got.length)
    await stop[Symbol.asyncDispose]()
  })

  it('agrees with a plain list, whatever happens', async () => {
    const random = seededRandom('agrees')
    const [byte, devices] = [() => random.bytes(1)[0] ?? 0, ['elm', 'oak', 'yew']]
    const next = new Map<string, number>()
    const model: string[] = []
    const sink = far('a')
    sink.answer = () => (byte() < 20 ? 'retry' : 'sent')
    outbox.attach(sink, ALL)
    for (let step = 0; step < 400; step++) {
      const dice = byte()
      if (dice < 160) {
        const device = devices[dice % 3] ?? ''
        const seq = (next.get(device) ?? 0) + 1 + (byte() % 3)
        next.set(device, seq)
        const pack = packOf(device, seq, ['a'], 1 + (byte() % 4))
        model.push(...pack.items.map(({ item }) => item.id))
        await outbox.put([pack], never)
      } else if (dice < 200) await clock.advance(byte() * 10)
      else if (dice < 220) sink.away = !sink.away
      else if (dice < 230) {
        await reopen()
        outbox.attach(sink, ALL)
      }
    }
    sink.away = false
    sink.answer = () => 'sent'
    await clock.advance(HOUR_MS)
    const ids = sink.got.map(({ id }) => id)
    for (const device of devices) {
      const of = (all: readonly string[]): string[] => all.filter((id) => id.startsWith(device))
      assert.deepEqual(of(ids), of(model))
    }
  })
})

describe('a gateway that is killed', () => {
  it('sends everything at least once and in order, counted at the far side', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'kith-outbox-kill-'))
    const script = fileURLToPath(new URL('../helpers/outbox-killed.ts', import.meta.url))
    const random = seededRandom('kills')
    const got: number[] = []
    const TOTAL = 3000
    let kills = 0
    try {
      for (let done = false; !done;) {
        const args = [script, join(folder, 'outbox.db'), String(TOTAL)]
        const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
        const ended = once(child, 'exit')
        const [byte = 0] = random.bytes(1)
        let left = 100 + byte * 4
        for await (const line of createInterface({ input: child.stdout })) {
          if (line === 'done') done = true
          else got.push(Number(line))
          if (--left === 0 && !done && child.kill('SIGKILL')) kills++
        }
        await ended
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
    const distinct = new Set(got)
    t.diagnostic(`${kills} kills, ${got.length - distinct.size} of ${TOTAL} twice`)
    assert.ok(kills >= 3)
    assert.equal(distinct.size, TOTAL)
    assert.deepEqual([...distinct], range(1, TOTAL), 'first seen in order')
  })
})
