import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { multiaddr } from '@multiformats/multiaddr'
import { Key } from 'interface-datastore'
import { pino } from 'pino'

import { systemClock, systemRandom } from '../../node/env.ts'
import { addressesOn, isLinkLocal, mayCrossWire, withZone } from '../../node/mesh/addresses.ts'
import { createBudget } from '../../node/mesh/budget.ts'
import { createGater, type Refusal } from '../../node/mesh/gater.ts'
import {
  compareLinks,
  linkOfPrefix,
  watchLinks,
  type Link,
  type LinkChange,
} from '../../node/mesh/links.ts'
import { dialCandidate, startPairingListener } from '../../node/mesh/pairing-host.ts'
import { createPeerTable } from '../../node/mesh/peer-table.ts'
import { race } from '../../node/mesh/race.ts'
import { migration, openDatastore } from '../../node/storage/datastore.ts'
import { openDatabase } from '../../node/storage/db.ts'
import { signerFromSeed } from '../../protocols/identity/index.ts'
import { field, message, uint, type Protocol } from '../../protocols/wire/index.ts'
import { virtualClock } from '../helpers/clock.ts'

const link = (name: string, ip6: string[], index = 2, ip4: string[] = []): Link => ({
  name,
  index,
  ip6,
  ip4,
})

describe('links', () => {
  it('tells what came, what went and what has other addresses', () => {
    const before = [link('eth0', ['fe80::1']), link('wlan0', ['fe80::2'], 3)]
    const after = [link('eth0', ['fe80::1', 'fd00::1']), link('usb0', ['fe80::3'], 4)]
    const change = compareLinks(before, after)
    assert.deepEqual(change?.changed, [after[0]])
    assert.deepEqual(change.gained, [after[1]])
    assert.deepEqual(change.lost, [before[1]])
  })

  it('tells by the prefix which link a sender without zone is on', () => {
    const links = [
      link('eth0', ['fe80::1', 'fd4b:17:5e:1::1']),
      link('eth1', ['2a01:4f8:c17:5f::1']),
    ]
    assert.equal(linkOfPrefix(links, 'fd4b:17:5e:1:aa::9'), 'eth0')
    assert.equal(linkOfPrefix(links, '2a01:4f8:c17:5f::9'), 'eth1')
    assert.equal(linkOfPrefix(links, '2a01:4f8:c17:5e::9'), undefined)
    assert.equal(linkOfPrefix(links, 'no address'), undefined)
  })

  it('takes an interface with another index for another interface', () => {
    const change = compareLinks([link('usb0', ['fe80::1'], 4)], [link('usb0', ['fe80::1'], 5)])
    assert.deepEqual([change?.gained.length, change?.lost.length], [1, 1])
  })

  it('does not mind the order of addresses', () => {
    const [one, two] = [link('eth0', ['fe80::1', 'fd00::1']), link('eth0', ['fd00::1', 'fe80::1'])]
    assert.equal(compareLinks([one], [two]), undefined)
  })

  it('compares once a second, at once when asked, and not after it was stopped', async () => {
    const clock = virtualClock()
    let [links, reads] = [[link('eth0', ['fe80::1'])], 0]
    const changes: LinkChange[] = []
    const read = (): Link[] => {
      reads++
      return links
    }
    const watch = watchLinks({ clock, read }, (change) => changes.push(change))
    await clock.advance(5000)
    assert.equal(reads, 6)
    links = []
    watch.check()
    assert.equal(changes.length, 1)
    watch[Symbol.dispose]()
    await clock.advance(5000)
    assert.equal(reads, 7)
  })
})

describe('addresses', () => {
  it('announces link-local first and nothing that must not be dialled', () => {
    const eth0 = link('eth0', ['2a01::1', 'fd00::1', 'fe80::1', '::1', 'ff02::1'])
    assert.deepEqual(addressesOn(eth0, 4646), [
      '/ip6/fe80::1/tcp/4646',
      '/ip6/fd00::1/tcp/4646',
      '/ip6/2a01::1/tcp/4646',
    ])
  })

  it('attaches our zone to link-local addresses alone', () => {
    assert.equal(withZone('/ip6/fe80::1/tcp/4646', 'eth0'), '/ip6zone/eth0/ip6/fe80::1/tcp/4646')
    assert.equal(withZone('/ip6/fd00::1/tcp/4646', 'eth0'), '/ip6/fd00::1/tcp/4646')
    assert.ok(!isLinkLocal('/ip6/fec0::1/tcp/4646'))
  })

  it('lets no zone, link-local or loopback address cross the wire', () => {
    const crossing = [
      '/ip6zone/eth0/ip6/fe80::1/tcp/4646',
      '/ip6/fe80::1/tcp/4646',
      '/ip6/::1/tcp/4646',
      '/ip4/127.0.0.1/tcp/4646',
      '/ip6/2a01::1/tcp/4646',
    ].filter((text) => mayCrossWire(multiaddr(text)))
    assert.deepEqual(crossing, ['/ip6/2a01::1/tcp/4646'])
  })
})

describe('the table of heard peers', () => {
  const heard = (instance: string, ...addresses: string[]) => ({
    addresses,
    instance,
    link: 'eth0',
  })

  it('holds 256 and never drops a member', () => {
    const table = createPeerTable()
    table.pin(new Set(['member']))
    table.hear('member', heard('m', 'm1'))
    for (let i = 0; i < 10_000; i++) table.hear(`stranger ${i}`, heard('s', 's1'))
    assert.equal(table.size, 256)
    assert.ok(table.get('member'))
    assert.ok(table.get('stranger 9999'))
    assert.equal(table.get('stranger 1'), undefined)
  })

  it('gathers the addresses of one instance and forgets those of the last', () => {
    const table = createPeerTable()
    table.hear('p', heard('one', 'a'))
    assert.deepEqual(table.hear('p', heard('one', 'b')).addresses, ['b', 'a'])
    assert.deepEqual(table.hear('p', heard('two', 'c')).addresses, ['c'])
    for (let i = 0; i < 40; i++) table.hear('p', heard('two', `x${i}`))
    assert.equal(table.get('p')?.addresses.length, 12)
  })
})

describe('rations', () => {
  it('gives a burst and then so many a second', async () => {
    const clock = virtualClock()
    const budget = createBudget(clock, 10, 20)
    const taken = (): number =>
      Array.from({ length: 100 }, () => budget.take()).filter(Boolean).length
    assert.equal(taken(), 20)
    await clock.advance(500)
    assert.equal(taken(), 5)
    await clock.advance(60_000)
    assert.equal(taken(), 20)
  })

  it('leaves handshakes for trusted hosts when strangers have used theirs up', () => {
    const refusals: Refusal[] = []
    const gate = createGater(virtualClock(), (refusal) => refusals.push(refusal))
    const stranger = multiaddr('/ip6zone/eth0/ip6/fe80::bad/tcp/1')
    const releases = Array.from({ length: 60 }, () => gate.admit(stranger))
    assert.equal(releases.filter((release) => release !== undefined).length, 48)
    assert.equal(gate.refusedCount, 12)
    assert.equal(refusals.length, 10, 'reports are rationed')
    gate.trustHost('fe80::900d')
    assert.ok(gate.admit(multiaddr('/ip6zone/eth0/ip6/fe80::900d/tcp/1')))
    releases[0]?.()
    assert.ok(gate.admit(stranger), 'a finished handshake makes room')
  })
})

describe('a race of addresses', () => {
  const never = (signal: AbortSignal): Promise<string> =>
    new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error))
    })

  it('passes a silent address after 150 ms and keeps the winner alive', async () => {
    const clock = virtualClock()
    const signals = new Map<string, AbortSignal>()
    const won = race(
      ['silent', 'good', 'spare'],
      (address, signal) => {
        signals.set(address, signal)
        return address === 'good' ? Promise.resolve(address) : never(signal)
      },
      clock,
      new AbortController().signal,
    )
    await clock.advance(149)
    assert.deepEqual([...signals.keys()], ['silent'])
    await clock.advance(1)
    assert.equal(await won, 'good')
    assert.deepEqual([...signals.keys()], ['silent', 'good'])
    assert.ok(signals.get('silent')?.aborted)
    assert.ok(!signals.get('good')?.aborted)
  })

  it('gives up after four seconds', async () => {
    const clock = virtualClock()
    const lost = assert.rejects(
      race(['silent'], (_, signal) => never(signal), clock, new AbortController().signal),
    )
    await clock.advance(4000)
    await lost
  })
})

describe('the datastore', () => {
  const key = new Key('/peers/one')
  const value = Uint8Array.of(1, 2, 3)

  it('reads what waits, and stores it after a second', async () => {
    const clock = virtualClock()
    const db = openDatabase(':memory:', [migration])
    const rows = (): number => db.prepare('SELECT key FROM libp2p').all().length
    const store = openDatastore(db, clock)
    await store.put(key, value)
    assert.deepEqual(await store.get(key), value)
    assert.equal(rows(), 0)
    await clock.advance(1000)
    assert.equal(rows(), 1)
    await store.delete(key)
    assert.equal(await store.has(key), false)
    await assert.rejects(async () => store.get(key), { name: 'NotFoundError' })
    store[Symbol.dispose]()
    assert.equal(rows(), 0)
  })

  it('finds by prefix, and takes no write after it was closed', async () => {
    const db = openDatabase(':memory:', [migration])
    const store = openDatastore(db, virtualClock())
    await store.put(key, value)
    await store.put(new Key('/pears/two'), value)
    const found: string[] = []
    for await (const pair of store.query({ prefix: '/peers' })) found.push(pair.key.toString())
    assert.deepEqual(found, ['/peers/one'])
    store[Symbol.dispose]()
    db.close()
    await store.put(new Key('/late'), value)
    assert.equal(await store.has(new Key('/late')), false)
  })

  it('outlives a full disk, and stores what waited once there is room', async () => {
    const clock = virtualClock()
    const db = openDatabase(':memory:', [migration])
    const rows = (): number => db.prepare('SELECT key FROM libp2p').all().length
    const store = openDatastore(db, clock)
    db.exec('PRAGMA max_page_count = 4')
    await store.put(key, new Uint8Array(50_000))
    await clock.advance(1000)
    assert.equal(rows(), 0)
    assert.equal(await store.has(key), true)
    db.exec('PRAGMA max_page_count = 1000')
    await clock.advance(60_000)
    assert.equal(rows(), 1)
    db.exec('PRAGMA max_page_count = 1')
    await store.put(new Key('/peers/two'), new Uint8Array(5_000_000))
    store[Symbol.dispose]()
    assert.equal(rows(), 1)
  })
})

describe('pairing hosts', () => {
  const PAIR: Protocol = {
    id: '/kith/pair/1.0.0',
    maxFrameBytes: 64,
    maxFrames: 4,
    maxInboundStreams: 1,
    maxOutboundStreams: 1,
    messageDeadlineMs: 1000,
  }
  const Number_ = message('number', { n: field(1, uint(99)) }, { maxBytes: 16 })
  const log = pino({ level: 'silent' })
  const seedOf = (n: number): Uint8Array => new Uint8Array(32).fill(n)
  const keyOf = (n: number): Uint8Array => signerFromSeed(seedOf(n)).key

  it('let strangers meet on one protocol, each with the key that Noise proved', async () => {
    const stop = new AbortController()
    const met = Promise.withResolvers<Uint8Array>()
    await using listener = await startPairingListener(
      {
        seed: seedOf(50),
        discriminator: '37',
        name: 'lamp',
        protocol: PAIR,
        clock: systemClock,
        random: systemRandom,
        log,
        multicast: false,
        async handle(channel, peer) {
          const { n } = await channel.receive(Number_)
          await channel.send(Number_, { n: n + 1 })
          met.resolve(peer)
        },
      },
      stop.signal,
    )
    const addresses = listener.addresses.filter((address) => address.startsWith('/ip6/::1/'))
    const dial = (key: Uint8Array) =>
      dialCandidate(
        { seed: seedOf(51), key, addresses, protocol: PAIR, clock: systemClock, log },
        async (channel, peer) => {
          assert.deepEqual(peer, keyOf(50))
          await channel.send(Number_, { n: 1 })
          return (await channel.receive(Number_)).n
        },
        stop.signal,
      )
    assert.equal(await dial(keyOf(50)), 2)
    assert.deepEqual(await met.promise, keyOf(51))
    await assert.rejects(dial(keyOf(52)), 'another key than the announced one')
  })
})
