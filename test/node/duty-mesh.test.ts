import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { pino } from 'pino'

import { createEmitter } from '../../node/events.ts'
import { createDutyMesh, OTHERS_AFTER_MS, type DutyMesh } from '../../node/mesh/duty-mesh.ts'
import type { Mesh, MeshEvents, MeshOptions, MeshPeer } from '../../node/mesh/mesh.ts'
import { EXTENSION_MS, GRACE_MS } from '../../node/mesh/window-limit.ts'
import { toHex, type Protocol } from '../../protocols/wire/index.ts'
import { virtualClock, type VirtualClock } from '../helpers/clock.ts'
import { seededRandom } from '../helpers/random.ts'

const LIMIT_MS = 2000
const PARENT = new Uint8Array(32).fill(1)
const OTHER = new Uint8Array(32).fill(2)
const HERE: Protocol = {
  id: '/test/1.0.0',
  maxFrameBytes: 64,
  maxInboundStreams: 1,
  maxOutboundStreams: 1,
  idleMs: 1000,
  maxTotalBytes: 1024,
} as unknown as Protocol

interface FakeNet {
  readonly meshes: FakeMesh[]
  readonly start: (options: MeshOptions) => Promise<Mesh>
}

interface FakeMesh {
  readonly options: MeshOptions
  readonly wanted: string[]
  readonly served: string[]
  members: number
  closed: boolean
  greet(key: Uint8Array): void
}

function fakeNet(): FakeNet {
  const meshes: FakeMesh[] = []
  return {
    meshes,
    start(options) {
      const events = createEmitter<MeshEvents>((error) => {
        throw error
      })
      const peers: MeshPeer[] = []
      const fake: FakeMesh = {
        options,
        wanted: [],
        served: [],
        members: 0,
        closed: false,
        greet(key) {
          peers.push({ key, address: '', direction: 'outbound', sinceMs: 0 })
          events.emit('connect', { key })
        },
      }
      meshes.push(fake)
      const mesh = {
        events,
        multicast: options.multicast,
        refusedCount: 1,
        serve: async ({ id }: Protocol) => void fake.served.push(id),
        peers: () => peers,
        setMembers: (keys: readonly Uint8Array[]) => void (fake.members = keys.length),
        want: (key: Uint8Array) => void fake.wanted.push(toHex(key).slice(0, 2)),
        traffic: () => ({ bytesIn: 10, bytesOut: 20, connectedMs: 30 }),
        async [Symbol.asyncDispose]() {
          fake.closed = true
          for (const { key } of peers.splice(0)) events.emit('disconnect', { key })
        },
      }
      return Promise.resolve(mesh as unknown as Mesh)
    },
  }
}

function dutyMesh(clock: VirtualClock, net: FakeNet): DutyMesh {
  return createDutyMesh(
    {
      seed: new Uint8Array(32).fill(7),
      port: 0,
      maySearch: true,
      clock,
      random: seededRandom('duty'),
      log: pino({ level: 'silent' }),
      greet: { protocol: HERE, run: async () => undefined },
      start: net.start,
    },
    new AbortController().signal,
  )
}

const OPTIONS = { dial: [PARENT], otherwise: [PARENT, OTHER], discover: false, limitMs: LIMIT_MS }

describe('a mesh that is on in windows', () => {
  it('has no network outside of them', async () => {
    const [clock, net] = [virtualClock(), fakeNet()]
    const mesh = dutyMesh(clock, net)
    await mesh.serve(HERE, async () => undefined)
    mesh.setMembers([PARENT])
    assert.equal(net.meshes.length, 0)
    assert.deepEqual(mesh.peers(), [])
    const signal = new AbortController().signal
    await assert.rejects(mesh.open(PARENT, HERE, signal), { code: 'NODE_TIMEOUT' })
  })

  it('serves, dials and tells of its peers within, and closes when the work is done', async () => {
    const [clock, net] = [virtualClock(), fakeNet()]
    const mesh = dutyMesh(clock, net)
    const heard: string[] = []
    mesh.events.on('connect', () => heard.push('connect'))
    mesh.events.on('disconnect', () => heard.push('disconnect'))
    await mesh.serve(HERE, async () => undefined)
    mesh.setMembers([PARENT, OTHER])
    const work = Promise.withResolvers<string>()
    const window = mesh.window(OPTIONS, () => work.promise)
    await clock.advance(50)
    const [inner] = net.meshes
    assert.ok(inner)
    assert.deepEqual([inner.options.brief, inner.options.multicast], [true, false])
    assert.deepEqual([inner.served, inner.members, inner.wanted], [[HERE.id], 2, ['01']])
    inner.greet(PARENT)
    assert.equal(mesh.peers().length, 1)
    work.resolve('done')
    const { value, cut, connectMs, traffic } = await window
    assert.deepEqual([value, cut, connectMs], ['done', false, 50])
    assert.deepEqual(traffic, { bytesIn: 10, bytesOut: 20, connectedMs: 30 })
    assert.deepEqual([inner.closed, mesh.awake], [true, false])
    assert.deepEqual(heard, ['connect', 'disconnect'])
  })

  it('dials others where no parent greets it in a moment, and not where one does', async () => {
    for (const answers of [false, true]) {
      const [clock, net] = [virtualClock(), fakeNet()]
      const mesh = dutyMesh(clock, net)
      const window = mesh.window(OPTIONS, (signal) => clock.sleep(1000, signal))
      await clock.advance(1)
      if (answers) net.meshes[0]?.greet(PARENT)
      await clock.advance(OTHERS_AFTER_MS)
      assert.deepEqual(net.meshes[0]?.wanted, answers ? ['01'] : ['01', '02'])
      await clock.advance(1000)
      await window
    }
  })

  it('opens one window at a time', async () => {
    const [clock, net] = [virtualClock(), fakeNet()]
    const mesh = dutyMesh(clock, net)
    const first = mesh.window(OPTIONS, (signal) => clock.sleep(100, signal))
    await assert.rejects(
      mesh.window(OPTIONS, async () => undefined),
      { code: 'NODE_CONFLICT' },
    )
    await clock.advance(100)
    await first
    await mesh.window(OPTIONS, async () => undefined)
    assert.equal(net.meshes.length, 2)
  })

  it('ends a window at its limit, whether or not the work heeds it', async () => {
    const [clock, net] = [virtualClock(), fakeNet()]
    const mesh = dutyMesh(clock, net)
    const window = mesh.window(OPTIONS, () => new Promise(() => undefined))
    await clock.advance(LIMIT_MS - 1)
    assert.equal(net.meshes[0]?.closed, false)
    await clock.advance(1)
    const { cut, value, error } = await window
    assert.deepEqual([cut, value, error], [true, undefined, undefined])
    assert.equal(net.meshes[0]?.closed, true)
  })

  it('waits for a call that acts, and a moment for its receipt', async () => {
    const [clock, net] = [virtualClock(), fakeNet()]
    const mesh = dutyMesh(clock, net)
    const acting = Promise.withResolvers<void>()
    const window = mesh.window(OPTIONS, () => new Promise(() => undefined))
    await clock.advance(LIMIT_MS - 500)
    void mesh.keepOpen(acting.promise, { beyond: true })
    await clock.advance(3000)
    assert.equal(net.meshes[0]?.closed, false)
    acting.resolve()
    await clock.advance(GRACE_MS - 1)
    assert.equal(net.meshes[0]?.closed, false)
    await clock.advance(1)
    assert.equal((await window).cut, true)
  })

  it('does not wait for ever for a call that hangs', async () => {
    const [clock, net] = [virtualClock(), fakeNet()]
    const mesh = dutyMesh(clock, net)
    const window = mesh.window(OPTIONS, () => new Promise(() => undefined))
    await clock.advance(1)
    void mesh.keepOpen(new Promise(() => undefined), { beyond: true })
    await clock.advance(LIMIT_MS + EXTENSION_MS)
    assert.equal((await window).cut, true)
  })

  it('stays open for what was asked before it opened, and no longer than its limit', async () => {
    const [clock, net] = [virtualClock(), fakeNet()]
    const mesh = dutyMesh(clock, net)
    const asked = Promise.withResolvers<void>()
    void mesh.keepOpen(asked.promise)
    const window = mesh.window(OPTIONS, async () => 'done')
    await clock.advance(700)
    assert.equal(net.meshes[0]?.closed, false)
    asked.resolve()
    assert.deepEqual([(await window).value, (await window).cut], ['done', false])
    void mesh.keepOpen(new Promise(() => undefined))
    const next = mesh.window(OPTIONS, async () => 'done')
    await clock.advance(LIMIT_MS)
    assert.deepEqual([(await next).value, (await next).cut], ['done', true])
  })

  it('tells what went wrong in a window, and closes it', async () => {
    const [clock, net] = [virtualClock(), fakeNet()]
    const mesh = dutyMesh(clock, net)
    const report = await mesh.window(OPTIONS, () => Promise.reject(new Error('broken')))
    assert.match(String(report.error), /broken/)
    assert.equal(net.meshes[0]?.closed, true)
  })

  it('closes an open window when it stops', async () => {
    const [clock, net] = [virtualClock(), fakeNet()]
    const mesh = dutyMesh(clock, net)
    const window = mesh.window(OPTIONS, (signal) => clock.sleep(1000, signal))
    await clock.advance(1)
    await mesh[Symbol.asyncDispose]()
    assert.equal(net.meshes[0]?.closed, true)
    assert.equal((await window).value, undefined)
  })
})
