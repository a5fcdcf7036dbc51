/*
 *      a (eth0) ───┐
 *                switch "lan"     link-local addresses alone
 *      b (eth0) ───┤
 *      c (eth0) ───┘
 *
 * No Kith here: this proves the ground that the other labs stand on.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

import { needs } from '../helpers/tools.ts'
import { linkLocalOf, startWorld, type World } from './netns.ts'

const PROBE = fileURLToPath(new URL('probe.ts', import.meta.url))
const ANSWER_LIMIT_MS = 10_000
const SILENCE_MS = 1500

describe('namespaces', needs('namespaces'), () => {
  let world: World

  before(async () => {
    world = await startWorld({
      lan: ['a', 'b', 'c'].map((device) => ({ device, interface: 'eth0' })),
    })
    const answering = probe('b', 'answer')
    assert.ok(answering.stdout)
    await once(answering.stdout, 'data')
  })
  after(async () => world[Symbol.asyncDispose]())

  function probe(device: string, role: string) {
    return world.spawn(device, [process.execPath, PROBE, role, 'eth0'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
  }

  /** What a device hears within `limitMs`; empty where it hears nothing. */
  async function heard(device: string, limitMs: number): Promise<string> {
    const asking = probe(device, 'ask')
    assert.ok(asking.stdout)
    const limit = setTimeout(() => asking.kill(), limitMs)
    const said = await text(asking.stdout)
    clearTimeout(limit)
    return said.trim()
  }

  it('have link-local addresses and nothing else', async () => {
    const addresses = await world.ip('a', '-br', 'addr', 'show', 'dev', 'eth0')
    assert.match(addresses, /^eth0@\S+\s+UP\s+fe80::[0-9a-f:]+\/64\s*$/)
    assert.equal((await world.ip('a', '-6', 'route', 'show', 'default')).trim(), '')
    assert.equal((await world.ip('a', '-4', 'addr')).includes('eth0'), false)
  })

  it('carry multicast and TCP between link-local addresses', async () => {
    const [a, b] = await Promise.all(
      ['a', 'b'].map((device) => linkLocalOf(world, { device, interface: 'eth0' })),
    )
    assert.equal(await heard('a', ANSWER_LIMIT_MS), `${b}%eth0 says: hello ${a}%eth0`)
  })

  it('carry nothing across a partition, and everything after it has healed', async () => {
    await world.partition('lan', ['b'])
    assert.equal(await heard('a', SILENCE_MS), '')
    await world.heal('lan')
    assert.match(await heard('a', ANSWER_LIMIT_MS), /hello/)
  })

  it('carry nothing without a cable, and lose addresses with the link', async () => {
    await world.setCable('b', 'eth0', 'out')
    assert.match(await world.ip('b', '-br', 'link', 'show', 'dev', 'eth0'), /NO-CARRIER/)
    assert.equal(await heard('a', SILENCE_MS), '')
    await world.setCable('b', 'eth0', 'in')
    assert.match(await heard('a', ANSWER_LIMIT_MS), /hello/)
    await world.setLink('c', 'eth0', 'down')
    assert.equal(await linkLocalOf(world, { device: 'c', interface: 'eth0' }), undefined)
    await world.setLink('c', 'eth0', 'up')
    assert.match(await heard('c', ANSWER_LIMIT_MS), /hello/)
  })

  it('count what passes', async () => {
    const before_ = await world.counters('a', 'eth0')
    await heard('a', ANSWER_LIMIT_MS)
    const now = await world.counters('a', 'eth0')
    assert.ok(now.txPackets > before_.txPackets && now.rxBytes > before_.rxBytes)
  })

  it('are gone with the process that holds them', async () => {
    const other = await startWorld({ lan: [{ device: 'x', interface: 'eth0' }] })
    const child = other.spawn('x', ['cat'], { stdio: ['pipe', 'ignore', 'ignore'] })
    child.kill('SIGKILL')
    await once(child, 'exit')
    await other[Symbol.asyncDispose]()
    await assert.rejects(other.ip('x', 'link'))
  })
})
