/*
 *      oak (eth0: fd4b:…::1, port 4646) ──┐
 *      elm (eth0: fd4b:…::2, any port) ─  switch "lan"     mallory has forty addresses, the LAN, and
 *      mallory (eth0: fd4b:…::bad:…) ─────┘                no key of the home
 *
 * What a stranger on the LAN can do to a home, and how little that is.
 */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { needs } from '../helpers/tools.ts'
import { startActor } from './actor.ts'
import { cpuBetween, startLab, type Lab } from './devices.ts'

const NAMES = ['oak', 'elm']
const PORT = '4646'
const ONLINE_LIMIT_MS = 30_000
const READING_LIMIT_MS = 20_000
const HOST = 'fd4b:17:5e:1::1'
const HOSTILE = Array.from({ length: 40 }, (_, i) => `fd4b:17:5e:1::bad:${(i + 1).toString(16)}`)

const SILENT_SOCKETS = 30
const CHURN_HOLD_MS = 20
const CHURN_READINGS = 3
const KNOCKS = 200
const LIES_PER_MINUTE = 10_000
const FLOOD_MS = 8000
/** What the attack may cost. */
const ONLINE_UNDER_ATTACK_MS = 3000
const MAX_CPU = 0.3
const MAX_CPU_CHURN = 0.5
const MAX_GROWTH_BYTES = 64 * 1024 * 1024
/** The dialer tries one member four times a second at most. */
const MAX_DIALS_PER_SECOND = 4

describe('a stranger on the LAN', needs('namespaces'), () => {
  let lab: Lab

  before(async () => {
    const quiet = { 'log.level': 'info', 'mesh.port': PORT }
    lab = await startLab(
      {
        lan: [
          { device: 'oak', interface: 'eth0', addresses: [`${HOST}/64`] },
          { device: 'elm', interface: 'eth0', addresses: ['fd4b:17:5e:1::2/64'] },
          { device: 'mallory', interface: 'eth0', addresses: HOSTILE.map((one) => `${one}/64`) },
        ],
      },
      { others: ['mallory'], settings: { oak: quiet, elm: { ...quiet, 'mesh.port': '0' } } },
    )
    await lab.makeHome()
    await lab.online(NAMES, ONLINE_LIMIT_MS)
  })
  after(async () => lab[Symbol.asyncDispose]())

  const idOf = async (name: string): Promise<string> =>
    (await lab.device(name).api.status()).device.id

  /** The milliseconds from when both answer until they see each other. */
  async function restarted(...names: readonly string[]): Promise<number> {
    await Promise.all(names.map((name) => lab.device(name).stop('SIGKILL')))
    await Promise.all(names.map((name) => lab.device(name).start()))
    return lab.online(NAMES, ONLINE_LIMIT_MS)
  }

  it('holds silent sockets open, and members come in all the same', async (t) => {
    const silent = startActor(lab.world, 'mallory', 'silent-sockets', [
      HOST,
      PORT,
      '0',
      ...HOSTILE.slice(0, SILENT_SOCKETS),
    ])
    assert.equal(await silent.line(), 'held')
    for (const names of [['elm'], ['oak', 'elm']]) {
      const ms = await restarted(...names)
      t.diagnostic(`online ${Math.round(ms)} ms after the restart of ${names.join(' and ')}`)
      assert.ok(ms < ONLINE_UNDER_ATTACK_MS, `${ms} ms`)
    }
    t.diagnostic(`${await silent.finish()} silent connections`)
    await lab.freshReading('oak', 'elm', READING_LIMIT_MS)
  })

  it('opens sockets as fast as it can, and closes them again', async (t) => {
    const oak = lab.device('oak')
    const before_ = await oak.usage()
    const args = [HOST, PORT, String(CHURN_HOLD_MS), ...HOSTILE]
    const churn = startActor(lab.world, 'mallory', 'silent-sockets', args)
    assert.equal(await churn.line(), 'held')
    const ms = await restarted('elm')
    t.diagnostic(`online ${Math.round(ms)} ms after a restart of elm`)
    assert.ok(ms < ONLINE_UNDER_ATTACK_MS, `${ms} ms`)
    for (let i = 0; i < CHURN_READINGS; i++) await lab.freshReading('oak', 'elm', READING_LIMIT_MS)
    const after_ = await oak.usage()
    const cpu = cpuBetween(before_, after_)
    const growth = after_.rssBytes - before_.rssBytes
    t.diagnostic(
      `${await churn.finish()} sockets, ${Math.round(cpu * 100)} % CPU, ${Math.round(growth / 1024)} KiB more`,
    )
    assert.ok(cpu < MAX_CPU_CHURN, `${cpu} of a core`)
    assert.ok(growth < MAX_GROWTH_BYTES, `${growth} bytes`)
  })

  it('is refused before any protocol is named, however often it comes', async (t) => {
    const address = `/ip6/${HOST}/tcp/${PORT}/p2p/${await idOf('oak')}`
    const before_ = await lab.device('oak').usage()
    const knocker = startActor(lab.world, 'mallory', 'plain-libp2p', [
      'knock',
      String(KNOCKS),
      address,
    ])
    const said = JSON.parse(await knocker.line()) as Record<string, number>
    const usage = await lab.device('oak').usage()
    t.diagnostic(`${JSON.stringify(said)}, ${Math.round(cpuBetween(before_, usage) * 100)} % CPU`)
    assert.equal(said['times'], KNOCKS)
    assert.equal(said['answered'], 0)
    const { peers } = await lab.device('oak').api.status()
    assert.equal(peers, 1)
    await lab.freshReading('oak', 'elm', READING_LIMIT_MS)
  })

  it('announces lies without end: nobody believes them for long', async (t) => {
    const ids = await Promise.all(NAMES.map(idOf))
    const trap = startActor(lab.world, 'oak', 'trap', ['7003'])
    assert.equal(await trap.line(), 'ready')
    const args = ['eth0', String(LIES_PER_MINUTE), ids.join(), HOSTILE.join()]
    const flood = startActor(lab.world, 'mallory', 'mdns-flood', args)
    assert.equal(await flood.line(), 'ready')
    const started = performance.now()
    const first = await lab.device('oak').usage()
    await lab.until('the flood has lasted', FLOOD_MS * 2, async () => {
      const { peers } = await lab.device('oak').api.status()
      assert.equal(peers, 1, 'still connected')
      return performance.now() - started > FLOOD_MS
    })
    const last = await lab.device('oak').usage()
    const cpu = cpuBetween(first, last)
    const growth = last.rssBytes - first.rssBytes
    t.diagnostic(`${Math.round(cpu * 100)} % CPU, ${Math.round(growth / 1024)} KiB more`)
    assert.ok(cpu < MAX_CPU, `${cpu} of a core`)
    assert.ok(growth < MAX_GROWTH_BYTES, `${growth} bytes`)

    const ms = await restarted('elm')
    t.diagnostic(`online ${Math.round(ms)} ms after a restart amid the flood`)
    assert.ok(ms < ONLINE_UNDER_ATTACK_MS, `${ms} ms`)
    await lab.freshReading('oak', 'elm', READING_LIMIT_MS)
    const seconds = (performance.now() - started) / 1000
    const { sent, came } = JSON.parse(await flood.finish()) as {
      sent: number
      came: Record<string, number>
    }
    t.diagnostic(`${sent} lies in ${Math.round(seconds)} s: ${JSON.stringify(came)}`)
    assert.ok(sent > (LIES_PER_MINUTE / 60) * seconds * 0.8)
    assert.equal(came['stranger'], 0)
    assert.equal(came['service'], 0)
    assert.equal(came['web'], 0)
    assert.equal(await trap.finish(), '0')
    assert.ok((came['member'] ?? 0) <= MAX_DIALS_PER_SECOND * NAMES.length * seconds)
  })
})
