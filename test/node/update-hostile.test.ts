import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import {
  BOUNDS,
  CODECS,
  runsOfBits,
  sealUpdateReport,
  UPDATE_ERRORS,
  type FrameOf,
} from '../../protocols/update/index.ts'
import {
  ExchangeRoom,
  fill,
  holds,
  releaseOf,
  type Rogue,
  type TestDevice,
  type TestRelease,
} from '../helpers/exchange.ts'
import { HOME } from '../helpers/telemetry.ts'

const never = new AbortController().signal

/** Take part in a release, as one that has all of it. */
async function claim(rogue: Rogue, { opened }: TestRelease): Promise<void> {
  const all = new Uint8Array(Math.ceil(opened.chunks.length / 8)).fill(255)
  const index = opened.id
  await rogue.say({ type: 'offer', channels: [], indexes: [{ index, complete: true }] })
  await rogue.next('have')
  await rogue.say({ type: 'have', index, runs: runsOfBits(all, opened.chunks.length) })
}

/** The next fault that a device tells of. */
function fault({
  exchange,
}: TestDevice): Promise<{ code: string; release: Uint8Array | undefined }> {
  return new Promise((resolve) => {
    const off = exchange.events.on('fault', (event) => {
      off()
      resolve(event)
    })
  })
}

/** An honest device with all of a release, which is not connected yet. */
async function honest(room: ExchangeRoom, release: TestRelease): Promise<TestDevice> {
  const device = await room.device('honest')
  await fill(device, release)
  device.exchange.offer(release.opened)
  return device
}

describe('a peer that sends what is not what it should be', () => {
  const release = releaseOf('app', 20)
  const { id: index } = release.opened
  const right = release.blobs[0]?.blob.bytes ?? new Uint8Array()
  const bad: Readonly<Record<string, Pick<FrameOf<'chunk'>, 'bytes' | 'codec'>>> = {
    garbage: { codec: CODECS.raw, bytes: new Uint8Array(2_000).fill(1) },
    'too little': { codec: CODECS.raw, bytes: right.subarray(1) },
    'too much': { codec: CODECS.raw, bytes: new Uint8Array(2_001) },
    'what cannot be unpacked': { codec: CODECS.zstd, bytes: right },
  }

  for (const [what, chunk] of Object.entries(bad)) {
    it(`is cut off for the release and told of: ${what}`, async () => {
      await using room = new ExchangeRoom()
      const device = await room.device('device')
      const rogue = await room.rogue('rogue', device)
      const fetching = device.exchange.fetch(release.opened, never)
      await claim(rogue, release)
      await rogue.next('credit')
      const told = fault(device)
      await rogue.answer({ type: 'chunk', index, n: 0, ...chunk })
      const { code, release: of } = await told
      assert.equal(code, 'UPDATE_WRONG_CHUNK')
      assert.deepEqual(of, index)
      const refused = (await rogue.next('refused')) as FrameOf<'refused'>
      assert.equal(refused.status, UPDATE_ERRORS.UPDATE_WRONG_CHUNK.status)
      const good = await honest(room, release)
      room.network.connect(good.key, device.key)
      const { from } = await fetching
      assert.ok(holds(device, release))
      assert.deepEqual(
        from.map(({ peer }) => peer),
        [good.key],
      )
      assert.equal(
        rogue.heard.some(({ type }) => type === 'want' || type === 'have-more'),
        false,
        'it is asked for nothing more',
      )
    })
  }

  it('is cut off when nothing was asked of it', async () => {
    await using room = new ExchangeRoom()
    const device = await honest(room, release)
    const rogue = await room.rogue('rogue', device)
    await claim(rogue, release)
    const told = fault(device)
    await rogue.answer({ type: 'chunk', index, n: 0, codec: CODECS.raw, bytes: right })
    assert.equal((await told).code, 'UPDATE_UNASKED')
  })

  it('is cut off for numbers that the release does not have', async () => {
    await using room = new ExchangeRoom()
    const device = await honest(room, release)
    const rogue = await room.rogue('rogue', device)
    await claim(rogue, release)
    const told = fault(device)
    await rogue.say({ type: 'want', index, chunks: [20] })
    assert.equal((await told).code, 'UPDATE_BAD_NUMBER')
  })

  it('loses its streams for runs beyond the release', async () => {
    await using room = new ExchangeRoom()
    const device = await honest(room, release)
    const rogue = await room.rogue('rogue', device)
    const told = fault(device)
    await rogue.say({ type: 'have', index, runs: [0, 500] })
    assert.equal((await told).code, 'UPDATE_BAD_NUMBER')
    await rogue.ended
  })
})

describe('a peer that asks for too much', () => {
  it('is cut off for a flood of wants', async () => {
    await using room = new ExchangeRoom()
    const release = releaseOf('flood', 3_000, { bytes: 16 })
    const device = await room.device('device', { uploadLimit: () => 1 })
    const [one] = release.blobs
    assert.ok(one)
    await fill(device, release, [0])
    device.exchange.offer(release.opened)
    const rogue = await room.rogue('rogue', device)
    const { id: index } = release.opened
    await rogue.say({ type: 'offer', channels: [], indexes: [{ index, complete: false }] })
    await rogue.next('have')
    const told = fault(device)
    for (let i = 0; i < 3; i++) {
      await rogue.say({ type: 'credit', index, count: BOUNDS.maxNumbers, from: 0, to: 3_000 })
    }
    assert.equal((await told).code, 'UPDATE_TOO_MUCH')
  })

  it('has what it asks for twice sent once, and what is not here refused', async () => {
    await using room = new ExchangeRoom()
    const release = releaseOf('app', 20)
    const device = await room.device('device')
    await fill(device, release, [1, 2])
    device.exchange.offer(release.opened)
    const rogue = await room.rogue('rogue', device)
    const { id: index } = release.opened
    await rogue.say({ type: 'offer', channels: [], indexes: [{ index, complete: false }] })
    await rogue.next('have')
    const chunks = [...Array.from({ length: 4_000 }, () => 1), 5]
    await rogue.say({ type: 'want', index, chunks })
    const lost = (await rogue.next('lost')) as FrameOf<'lost'>
    assert.deepEqual(lost.chunks, [5])
    await rogue.say({ type: 'want', index, chunks: [2] })
    const sent = [await rogue.next('chunk'), await rogue.next('chunk')] as FrameOf<'chunk'>[]
    assert.deepEqual(
      sent.map(({ n }) => n),
      [1, 2],
    )
  })

  it('loses its streams for more files at once than there may be', async () => {
    await using room = new ExchangeRoom()
    const device = await room.device('device', { file: () => new Promise(() => undefined) })
    const rogue = await room.rogue('rogue', device)
    const told = fault(device)
    for (let i = 0; i <= BOUNDS.maxAsked; i++) {
      await rogue.say({ type: 'meta-ask', channel: 'home', file: `${i}.json` })
    }
    assert.equal((await told).code, 'UPDATE_TOO_MUCH')
    await rogue.ended
  })
})

describe('a peer that does not give what it says it has', () => {
  const tuning = { silentMs: 100, creditMs: 100, secondMs: 50 }

  it('is left for others when it never answers', async () => {
    await using room = new ExchangeRoom()
    const release = releaseOf('app', 20)
    const device = await room.device('device', { tuning })
    const rogue = await room.rogue('rogue', device)
    const fetching = device.exchange.fetch(release.opened, never)
    await claim(rogue, release)
    await rogue.next('credit')
    await rogue.next('want')
    await rogue.next('cancel')
    const good = await honest(room, release)
    room.network.connect(good.key, device.key)
    await fetching
    assert.ok(holds(device, release))
  })

  it('is left for others when it has lost all that it claims', async () => {
    await using room = new ExchangeRoom()
    const release = releaseOf('app', 40)
    const device = await room.device('device', { tuning })
    const rogue = await room.rogue('rogue', device)
    const fetching = device.exchange.fetch(release.opened, never)
    await claim(rogue, release)
    const { id: index } = release.opened
    const want = (await rogue.next('want')) as FrameOf<'want'>
    await rogue.answer({ type: 'lost', index, chunks: want.chunks })
    const good = await honest(room, release)
    room.network.connect(good.key, device.key)
    const { from } = await fetching
    assert.deepEqual(
      from.map(({ peer }) => peer),
      [good.key],
    )
    assert.deepEqual(device.faults, [])
  })
})

describe('a peer that breaks the form', () => {
  it('loses its streams when it answers where it should ask', async () => {
    await using room = new ExchangeRoom()
    const device = await room.device('device')
    const rogue = await room.rogue('rogue', device)
    const told = fault(device)
    await rogue.say({ type: 'refused', status: 1 })
    assert.equal((await told).code, 'UPDATE_UNASKED')
    await rogue.ended
  })

  it('loses its streams for a file that nobody asked for, and for parts that do not fit', async () => {
    await using room = new ExchangeRoom()
    const device = await room.device('device')
    const rogue = await room.rogue('rogue', device)
    const asked = device.exchange.ask(rogue.key, { channel: 'home', file: 'a.json' }, never)
    const refused = assert.rejects(asked)
    await rogue.next('meta-ask')
    const told = fault(device)
    const bytes = new Uint8Array(1)
    await rogue.answer({ type: 'meta', channel: 'home', file: 'a.json', part: 1, of: 2, bytes })
    assert.equal((await told).code, 'UPDATE_BAD_META')
    await refused
    const other = await room.rogue('other', device)
    const again = fault(device)
    await other.answer({ type: 'meta', channel: 'home', file: 'b.json', part: 0, of: 1, bytes })
    assert.equal((await again).code, 'UPDATE_UNASKED')
  })

  it('loses its streams for a report that is not what its signature is over', async () => {
    await using room = new ExchangeRoom()
    const device = await room.device('device')
    const rogue = await room.rogue('rogue', device)
    const { bytes } = sealUpdateReport(
      {
        seq: 1,
        at: 1_800_000_000_000,
        clock: 'synced',
        channel: 'home',
        name: 'app',
        version: '1.0',
        build: 1,
        index: new Uint8Array(32),
        phase: 'healthy',
        from: [],
      },
      HOME,
      device.signer,
    )
    const forged = bytes.slice()
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1
    await rogue.say({ type: 'report', bytes: forged })
    await rogue.ended
    assert.equal(device.exchange.reports().length, 0)
  })

  it('gets nothing where updates are not for it', async () => {
    await using room = new ExchangeRoom()
    const device = await room.device('device', { allows: () => false })
    const mesh = room.network.join(new Uint8Array(32).fill(9))
    room.network.connect(mesh.key, device.key)
    assert.deepEqual(device.exchange.offers(), [])
    const refused = await room.refusal(mesh, device)
    assert.equal(refused.status, UPDATE_ERRORS.UPDATE_FORBIDDEN.status)
  })
})
