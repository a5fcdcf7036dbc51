import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import {
  chooseParents,
  elapsed,
  Note,
  openSchedule,
  presenceOf,
  Reply,
  SchedulePayload,
  sealSchedule,
  serveMail,
  tell,
  visitHolder,
  MAILBOX,
  type Schedule,
  type ScheduleContent,
} from '../../protocols/mailbox/index.ts'
import { fromHex, toHex } from '../../protocols/wire/index.ts'
import { channelPair } from '../helpers/channels.ts'
import { ask, execute, newWorld, PERIOD_MS, SLACK_MS, wake } from '../helpers/mail-world.ts'
import { CONTEXT, deviceOf, HOME, START_MS } from '../helpers/telemetry.ts'
import { assertBothWays, byName, readVectors } from '../helpers/vectors.ts'

const key = (name: string): Uint8Array => deviceOf(name).key

function scheduleOf(changes: Partial<ScheduleContent> = {}, home = HOME): Schedule {
  const content = {
    seq: 1,
    atMs: START_MS,
    clock: 'synced',
    mode: 'sleepy',
    periodMs: PERIOD_MS,
    windowMs: 2_000,
    slackMs: SLACK_MS,
    parents: [key('hub')],
  } as const
  return sealSchedule({ ...content, ...changes }, home, deviceOf('vectors'))
}

const vectors =
  readVectors<{ seed: string; hex: string; seq: number; parents: string[] }[]>('mailbox')
const messages = byName(Note, Reply, SchedulePayload)

describe('the mailbox vectors', () => {
  it('match both ways', () => {
    assert.ok(vectors.messages.length >= 8)
    assertBothWays(vectors, messages)
  })

  it('are refused where they are invalid', () => {
    assert.ok(vectors.invalid.length >= 8)
    for (const { name, message, hex, code } of vectors.invalid) {
      const decode = (): unknown =>
        message === 'schedule'
          ? openSchedule(fromHex(hex), CONTEXT)
          : messages[message]?.decode(fromHex(hex))
      assert.throws(decode, { code }, name)
    }
  })

  it('hold schedules of a device, byte for byte', () => {
    assert.ok(vectors.runs.length > 0)
    for (const { hex, parents, seed, seq } of vectors.runs) {
      const { bytes, device, ...content } = openSchedule(fromHex(hex), CONTEXT)
      assert.equal(content.seq, seq)
      assert.deepEqual(content.parents.map(toHex), parents)
      assert.equal(toHex(device), toHex(key(seed)))
      assert.equal(toHex(sealSchedule(content, HOME, deviceOf(seed)).bytes), toHex(bytes))
    }
  })
})

describe('hostile bytes', () => {
  it('are refused with a coded error, whatever is changed in a schedule', () => {
    const { bytes } = scheduleOf()
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
        const damaged = bytes.slice()
        damaged[at] = (damaged[at] ?? 0) ^ by
        assert.throws(
          () => openSchedule(damaged, CONTEXT),
          (error) => typeof (error as { code?: unknown }).code === 'string',
        )
      }),
    )
  })

  it('in place of calls and receipts change nothing on disk', () => {
    const [hub, server] = newWorld(1, ['hub', 'server']).devices
    assert.ok(hub && server)
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), (noise) => {
        const held = hub.post.put([{ call: noise, age: 0 }], server.key)
        const news = { schedules: [{ schedule: noise, age: 0 }], receipts: [noise], given: [] }
        assert.deepEqual(held, { ids: [], refused: [], receipts: [] })
        assert.deepEqual(hub.post.hear(news, server.key), [])
        assert.equal(hub.disk.rows.size + hub.disk.schedules.size, 0)
      }),
    )
  })

  it('of a device that is not what it says are not believed', () => {
    const world = newWorld(2, ['hub', 'server', 'phone', 'sleeper'])
    const [hub, server, phone, sleeper] = world.devices
    assert.ok(hub && server && phone && sleeper)
    const made = ask(world, [phone, sleeper], { ttlMs: 86_400_000 })
    assert.ok(typeof made !== 'string')
    const [note] = phone.outbox.notes(hub.key)
    assert.ok(note?.put)
    assert.equal(hub.post.put(note.put, phone.key).ids.length, 1)
    assert.equal(hub.post.put(note.put, sleeper.key).refused.length, 1, 'not for others to pass on')
    const [stolen] = execute(world, sleeper, [note.put[0]?.call ?? new Uint8Array()])
    const forged = JSON.parse(new TextDecoder().decode(stolen)) as Record<string, unknown>
    const receipt = new TextEncoder().encode(
      JSON.stringify({ ...forged, callee: toHex(server.key) }),
    )
    hub.post.takeReceipt(receipt, server.key)
    assert.equal(hub.post.find(fromHex(made.id))?.receipt.length, 0, 'not by the one called')
  })
})

describe('presence', () => {
  const plan = { mode: 'sleepy', periodMs: 600_000, slackMs: 30_000 } as const

  it('goes from asleep over late to lost, and says when mail arrives while that is known', () => {
    const at = (ms: number): string => presenceOf(plan, 0, false, ms).state
    assert.deepEqual(presenceOf(plan, 0, false, 1), {
      state: 'asleep',
      dueMs: 600_000,
      deliversByMs: 630_000,
    })
    assert.deepEqual([at(630_000), at(630_001), at(1_830_000)], ['asleep', 'late', 'late'])
    assert.equal(at(1_830_001), 'lost')
    assert.equal(presenceOf(plan, 0, true, 10 ** 9).state, 'online')
    assert.equal(presenceOf({ ...plan, mode: 'powered' }, 0, false, 1).state, 'offline')
    assert.equal(presenceOf(undefined, 0, false, 1).state, 'offline')
  })

  it('asks the wall clock only over a restart, and only where it was set', () => {
    const [boot, other] = [new Uint8Array(16), new Uint8Array(16).fill(1)]
    const since = { wallMs: 5_000, monoMs: 1_000, boot, synced: true }
    const now = { wallMs: 10 ** 12, monoMs: 4_000, boot, synced: true }
    assert.deepEqual(elapsed(since, now), { ms: 3_000, certain: true })
    const later = { wallMs: 65_000, monoMs: 10, boot: other, synced: true }
    assert.deepEqual(elapsed(since, later), { ms: 60_000, certain: true })
    assert.deepEqual(elapsed(since, { ...later, synced: false }), { ms: 10, certain: false })
  })
})

describe('the choice of parents', () => {
  const [a, b, c] = [key('a'), key('b'), key('c')]
  const choose = (current: Uint8Array[], dead: Uint8Array[], candidates: Uint8Array[]) =>
    chooseParents({ current, dead: new Set(dead.map(toHex)), candidates })

  it('takes two, keeps those that answer, and replaces one that died', () => {
    assert.deepEqual(choose([], [], [a, b, c]), [a, b])
    assert.deepEqual(choose([b, c], [], [a, b, c]), [b, c])
    assert.deepEqual(choose([a, b], [a], [a, b, c]), [b, c])
    assert.deepEqual(choose([a, b], [a], [a, b]), [b, a], 'nobody is there to take its place')
    assert.deepEqual(choose([a, b], [], [b, c]), [b, c], 'one that may not hold any more')
  })
})

describe('the streams', () => {
  it('carry a put, news and a whole wake', async () => {
    const world = newWorld(3, ['hub', 'phone', 'sleeper'])
    const [hub, phone, sleeper] = world.devices
    assert.ok(hub && phone && sleeper)
    wake(world, sleeper)
    sleeper.awake = false
    const made = ask(world, [phone, sleeper], { ttlMs: 86_400_000 })
    assert.ok(typeof made !== 'string')
    const serve = async (peer: Uint8Array) => {
      const [near, far] = await channelPair(MAILBOX)
      const served = serveMail(far.channel, {
        post: hub.post,
        peer,
        isConnected: () => true,
        logHead: () => 7,
        logReaches: () => Promise.resolve(),
        woke: () => undefined,
      })
      return { near, served }
    }
    for (const note of phone.outbox.notes(hub.key)) {
      const { near, served } = await serve(phone.key)
      phone.outbox.answered(hub.key, note, await tell(near.channel, note))
      await served
    }
    assert.deepEqual(phone.post.find(fromHex(made.id))?.holders, [hub.key])
    const other = await serve(key('other sleeper'))
    await other.near.channel.send(Note, {
      wake: { receipts: [], acks: [], logHead: 0, more: false },
    })
    const { mail } = await other.near.channel.receive(Reply)
    assert.deepEqual(mail?.calls, [], 'nobody gets what is for another')
    await other.near.stream.close()
    const { near, served } = await serve(sleeper.key)
    const found = await visitHolder(near.channel, {
      post: sleeper.post,
      holder: hub.key,
      start: { schedule: sleeper.timetable.get(sleeper.key)?.bytes ?? new Uint8Array() },
      logHead: () => 7,
      deliver: (calls) => Promise.resolve(execute(world, sleeper, calls)),
    })
    await near.stream.close()
    await served
    assert.deepEqual([found.calls, found.receipts, found.logTaken], [1, 1, true])
    assert.equal(world.executed.get(made.id), 1)
    assert.equal(sleeper.disk.rows.size, 0, 'the holder has the receipt')
  })

  it('end where a note is none or two things at once', async () => {
    const [hub] = newWorld(4, ['hub']).devices
    assert.ok(hub)
    const news = { schedules: [], receipts: [], given: [] }
    const wakeNote = { receipts: [], acks: [], logHead: 0, more: false }
    for (const note of [{}, { news, wake: wakeNote }]) {
      const [near, far] = await channelPair(MAILBOX)
      const served = serveMail(far.channel, {
        post: hub.post,
        peer: key('phone'),
        isConnected: () => true,
        logHead: () => 0,
        logReaches: () => Promise.resolve(),
        woke: () => undefined,
      })
      await near.channel.send(Note, note)
      await assert.rejects(served, { code: 'MAILBOX_BAD_DOCUMENT' })
    }
  })
})
