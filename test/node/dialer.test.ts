import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import type { DialerAction, DialerEvent, DialerState } from '../../node/mesh/dialer-state.ts'
import {
  BACKOFF_LAST_MS,
  CROSSING_MS,
  DEMAND_RETRY_MS,
  nextDialMs,
  startDialer,
  step,
  YIELD_MS,
} from '../../node/mesh/dialer.ts'

/** One dialer, with the time and the actions of every step at hand. */
function driver(self: string, members: string[]) {
  let state: DialerState = startDialer(self, 1)
  const at = { now: 0 }
  function tell(event: DialerEvent): readonly DialerAction[] {
    const next = step(state, event, at.now)
    state = next.state
    return next.actions
  }
  /** Move to the next planned dial, or by `limitMs`. */
  function waitForDial(limitMs = 60_000): readonly DialerAction[] {
    const next = nextDialMs(state)
    if (next === undefined || next > at.now + limitMs) {
      at.now += limitMs
      return []
    }
    at.now = Math.max(at.now, next)
    return tell({ type: 'tick' })
  }
  tell({ type: 'members', peers: members })
  return { at, tell, waitForDial, peer: (name: string) => state.peers.get(name) }
}

const seen = (
  peer: string,
  instance = 'one',
  addresses = ['/ip6/fe80::1/tcp/4646'],
): DialerEvent => ({
  type: 'seen',
  peer,
  addresses,
  instance,
  link: 'eth0',
})

const opened = (
  peer: string,
  connection: string,
  direction: 'inbound' | 'outbound',
): DialerEvent => ({
  type: 'opened',
  peer,
  connection,
  direction,
  link: 'eth0',
  remoteHost: 'fe80::1',
})

const kinds = (actions: readonly DialerAction[]): string[] => actions.map(({ type }) => type)

describe('the dialer', () => {
  it('dials a member with a higher id at once', () => {
    const { tell } = driver('a', ['b'])
    assert.deepEqual(tell(seen('b')), [
      { type: 'dial', peer: 'b', addresses: ['/ip6/fe80::1/tcp/4646'] },
    ])
  })

  it('leaves a member with a lower id 700 ms to dial', () => {
    const { at, tell, waitForDial } = driver('b', ['a'])
    assert.deepEqual(tell(seen('a')), [])
    assert.deepEqual(kinds(waitForDial()), ['dial'])
    assert.equal(at.now, YIELD_MS)
  })

  it('never dials a stranger', () => {
    const { tell, waitForDial } = driver('a', ['b'])
    assert.deepEqual(tell(seen('c')), [])
    assert.deepEqual(waitForDial(), [])
  })

  it('tries less and less often, at least every five seconds and a quarter more', () => {
    const { at, tell, waitForDial } = driver('a', ['b'])
    tell(seen('b'))
    const gaps: number[] = []
    for (let i = 0; i < 12; i++) {
      const before = at.now
      tell({ type: 'dialled', peer: 'b', ok: false })
      assert.deepEqual(kinds(waitForDial()), ['dial'])
      gaps.push(at.now - before)
    }
    assert.ok((gaps[0] ?? 0) < 70, String(gaps))
    assert.ok(Math.max(...gaps) <= BACKOFF_LAST_MS * 1.25, String(gaps))
    assert.ok((gaps.at(-1) ?? 0) >= BACKOFF_LAST_MS * 0.75, String(gaps))
  })

  it('forgets the back-off when the member announces a new instance', () => {
    const { at, tell, waitForDial } = driver('a', ['b'])
    tell(seen('b'))
    for (let i = 0; i < 10; i++) {
      tell({ type: 'dialled', peer: 'b', ok: false })
      waitForDial()
    }
    tell({ type: 'dialled', peer: 'b', ok: false })
    at.now += 300
    assert.deepEqual(kinds(tell(seen('b', 'two'))), ['dial'])
  })

  it('dials no more than four times a second, however many announcements are forged', () => {
    const { at, tell } = driver('a', ['b'])
    let dials = 0
    for (let i = 0; i < 1000; i++) {
      at.now += 1
      const actions = tell(seen('b', `instance ${i}`, [`/ip6/fe80::${i + 1}/tcp/4646`]))
      for (const { type } of actions) if (type === 'dial') dials++
      tell({ type: 'dialled', peer: 'b', ok: false })
    }
    assert.ok(dials <= 5, String(dials))
  })

  it('still tries the address that worked when forged ones are announced', () => {
    const { tell, waitForDial } = driver('a', ['b'])
    tell({ type: 'known', peer: 'b', kind: 'proven', addresses: ['/ip6/fd00::b/tcp/4646'] })
    tell({ type: 'dialled', peer: 'b', ok: false })
    const forged = Array.from({ length: 16 }, (_, i) => `/ip6/fe80::bad:${i}/tcp/4646`)
    const [dial] = [...tell(seen('b', 'one', forged)), ...waitForDial()]
    assert.ok(dial?.type === 'dial' && dial.addresses.slice(0, 2).includes('/ip6/fd00::b/tcp/4646'))
  })

  it('tries IPv6 before IPv4', () => {
    const { tell } = driver('a', ['b'])
    const [ip4, ip6] = ['/ip4/10.0.0.2/tcp/4646', '/ip6/fd00::2/tcp/4646']
    assert.deepEqual(tell(seen('b', 'one', [ip4, ip6])), [
      { type: 'dial', peer: 'b', addresses: [ip6, ip4] },
    ])
  })

  it('keeps the connection that the lower one dialled, on both sides', () => {
    const lower = driver('a', ['b'])
    lower.tell(opened('b', 'mine', 'outbound'))
    const [close, probe] = lower.tell(opened('b', 'theirs', 'inbound'))
    assert.deepEqual(close, { type: 'close', peer: 'b', connection: 'theirs' })
    assert.deepEqual(probe, { type: 'probe', peer: 'b', connection: 'mine' })
    const higher = driver('b', ['a'])
    higher.tell(opened('a', 'theirs', 'outbound'))
    assert.deepEqual(higher.tell(opened('a', 'mine', 'inbound')), [
      { type: 'close', peer: 'a', connection: 'theirs' },
    ])
  })

  it('lets a connection that comes later replace an older one', () => {
    const { at, tell } = driver('a', ['b'])
    tell(opened('b', 'old', 'outbound'))
    at.now += CROSSING_MS + 1
    assert.deepEqual(tell(opened('b', 'new', 'inbound')), [
      { type: 'close', peer: 'b', connection: 'old' },
    ])
  })

  it('doubts its connections when links change or the peer shows a new instance', () => {
    const { at, tell } = driver('a', ['b'])
    tell(seen('b'))
    tell(opened('b', 'c1', 'outbound'))
    assert.deepEqual(kinds(tell({ type: 'links' })), ['probe'])
    assert.deepEqual(kinds(tell({ type: 'links' })), [], 'one probe at a time')
    tell({ type: 'probed', peer: 'b', connection: 'c1' })
    at.now += 1000
    assert.deepEqual(kinds(tell(seen('b', 'two'))), ['probe'])
    tell({ type: 'probed', peer: 'b', connection: 'c1' })
    at.now += 1000
    assert.deepEqual(kinds(tell(seen('b', 'two', ['/ip6/fe80::9/tcp/4646']))), ['probe'])
  })

  it('dials again within 100 ms after a connection that was in use broke', () => {
    const { at, tell, waitForDial } = driver('a', ['b'])
    tell(seen('b'))
    tell(opened('b', 'c1', 'outbound'))
    tell({ type: 'dialled', peer: 'b', ok: true })
    tell({ type: 'greeted', peer: 'b', connection: 'c1', address: '/ip6/fe80::1/tcp/4646' })
    at.now += 10_000
    tell({ type: 'closed', peer: 'b', connection: 'c1' })
    const before = at.now
    assert.deepEqual(kinds(waitForDial()), ['dial'])
    assert.ok(at.now - before < 100)
  })

  it('backs off from a member whose greeting fails again and again', () => {
    const { at, tell, waitForDial } = driver('a', ['b'])
    tell(seen('b'))
    const start = at.now
    for (let i = 0; i < 6; i++) {
      tell(opened('b', `c${i}`, 'outbound'))
      tell({ type: 'dialled', peer: 'b', ok: true })
      tell({ type: 'closed', peer: 'b', connection: `c${i}` })
      waitForDial()
    }
    assert.ok(at.now - start > 1500, String(at.now - start))
  })

  it('forgets a removed member with everything planned for it', () => {
    const { tell, waitForDial, peer } = driver('b', ['a'])
    tell(seen('a'))
    tell({ type: 'members', peers: [] })
    assert.equal(peer('a'), undefined)
    assert.deepEqual(waitForDial(), [])
  })
})

/** A network of dialers in virtual time: dials take a while, links fail, and ends may disagree. */
function simulate(seed: number, count: number, lengthMs: number) {
  let random = seed >>> 0
  const chance = (): number => {
    random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0
    return random / 2 ** 32
  }
  const names = Array.from({ length: count }, (_, i) => `node${i}`)
  const states = new Map<string, DialerState>(names.map((name, i) => [name, startDialer(name, i)]))
  const queue: { at: number; order: number; run: () => void }[] = []
  const open = new Map<string, { dialler: string; target: string }>()
  let [now, order, dials, serial] = [0, 0, 0, 0]
  const after = (ms: number, run: () => void): void => {
    queue.push({ at: now + ms, order: order++, run })
  }

  function tell(name: string, event: DialerEvent): void {
    const next = step(states.get(name) as DialerState, event, now)
    states.set(name, next.state)
    for (const action of next.actions) act(name, action)
    const due = nextDialMs(next.state)
    if (due !== undefined) after(Math.max(1, due - now), () => tell(name, { type: 'tick' }))
  }

  function act(name: string, action: DialerAction): void {
    if (action.type === 'close') return close(action.connection)
    if (action.type === 'probe') {
      const { peer, connection } = action
      after(5, () => tell(name, { type: 'probed', peer, connection }))
      return
    }
    dials++
    after(5 + chance() * 50, () => connect(name, action.peer))
  }

  function connect(dialler: string, target: string): void {
    const ok = chance() < 0.8 || now > lengthMs / 2
    if (ok) {
      const id = `c${serial++}`
      open.set(id, { dialler, target })
      for (const [self, peer, direction] of [
        [dialler, target, 'outbound'],
        [target, dialler, 'inbound'],
      ] as const) {
        after(chance() * 10, () => {
          if (open.has(id)) tell(self, opened(peer, id, direction))
          if (open.has(id))
            tell(self, { type: 'greeted', peer, connection: id, address: undefined })
        })
      }
    }
    after(11, () => tell(dialler, { type: 'dialled', peer: target, ok }))
  }

  function close(id: string): void {
    const ends = open.get(id)
    if (ends === undefined || !open.delete(id)) return
    after(1 + chance() * 5, () => {
      tell(ends.dialler, { type: 'closed', peer: ends.target, connection: id })
      tell(ends.target, { type: 'closed', peer: ends.dialler, connection: id })
    })
  }

  for (const name of names) {
    tell(name, { type: 'members', peers: names })
    for (const peer of names) if (peer !== name) after(chance() * 500, () => tell(name, seen(peer)))
  }
  for (let at = 0; at < lengthMs / 2; at += 250) {
    after(at, () => {
      const victim = [...open.keys()][Math.floor(chance() * open.size)]
      if (victim !== undefined) close(victim)
    })
  }
  while (queue.length > 0) {
    const next = queue.toSorted((a, b) => a.at - b.at || a.order - b.order)[0]
    if (next === undefined || next.at > lengthMs) break
    queue.splice(queue.indexOf(next), 1)
    now = next.at
    next.run()
  }
  return { open, dials }
}

describe('the dialer and members that sleep', () => {
  const known = (peer: string): DialerEvent => ({
    type: 'known',
    peer,
    kind: 'proven',
    addresses: ['/ip6/fe80::9/tcp/1'],
  })

  it('does not dial one again that went to sleep, nor look for it', () => {
    const { at, tell, waitForDial, peer } = driver('a', ['b'])
    tell({ type: 'sleepers', peers: ['b'] })
    tell(opened('b', 'one', 'inbound'))
    tell({ type: 'greeted', peer: 'b', connection: 'one', address: undefined })
    tell({ type: 'closed', peer: 'b', connection: 'one' })
    for (let hour = 0; hour < 24; hour++) assert.deepEqual(waitForDial(3_600_000), [])
    assert.equal(peer('b')?.lostMs, undefined)
    assert.deepEqual(tell({ type: 'links' }), [])
    assert.equal(at.now, 24 * 3_600_000)
  })

  it('stops trying when it learns that one sleeps, and begins again when it does no more', () => {
    const { tell, waitForDial } = driver('a', ['b'])
    assert.deepEqual(kinds(tell(known('b'))), ['dial'])
    tell({ type: 'dialled', peer: 'b', ok: false })
    tell({ type: 'sleepers', peers: ['b'] })
    assert.deepEqual(waitForDial(), [])
    tell({ type: 'sleepers', peers: [] })
    assert.deepEqual(kinds(tell({ type: 'links' })), ['dial'])
  })

  it('dials one that is wanted, once', () => {
    const { at, tell, waitForDial } = driver('a', ['b'])
    tell({ type: 'sleepers', peers: ['b'] })
    tell(known('b'))
    at.now += 1000
    assert.deepEqual(kinds(tell({ type: 'wanted', peer: 'b' })), ['dial'])
    tell({ type: 'dialled', peer: 'b', ok: false })
    assert.deepEqual(waitForDial(), [])
  })
})

describe('the dialer of a window', () => {
  it('dials nobody but who is wanted, at once whoever is lower, and does not back off', () => {
    let state = startDialer('b', 1, true)
    let now = 0
    const tell = (event: DialerEvent): readonly DialerAction[] => {
      const next = step(state, event, now)
      state = next.state
      return next.actions
    }
    tell({ type: 'members', peers: ['a', 'c'] })
    const addresses = ['/ip6/fe80::9/tcp/1']
    for (const peer of ['a', 'c']) {
      assert.deepEqual(tell({ type: 'known', peer, kind: 'proven', addresses }), [])
    }
    assert.deepEqual(tell(seen('c')), [])
    assert.deepEqual(tell({ type: 'wanted', peer: 'a' }), [{ type: 'dial', peer: 'a', addresses }])
    for (let i = 0; i < 10; i++) {
      tell({ type: 'dialled', peer: 'a', ok: false })
      now += DEMAND_RETRY_MS
      assert.deepEqual(kinds(tell({ type: 'tick' })), ['dial'])
    }
    assert.equal(state.peers.get('c')?.dueMs, undefined)
  })

  it('dials where a peer turned up while it is still dialled where it was, four times at most', () => {
    let state = startDialer('b', 1, true)
    const tell = (event: DialerEvent): readonly DialerAction[] => {
      const next = step(state, event, 0)
      state = next.state
      return next.actions
    }
    tell({ type: 'members', peers: ['a'] })
    tell({ type: 'known', peer: 'a', kind: 'proven', addresses: ['/ip6/fe80::9/tcp/1'] })
    tell({ type: 'wanted', peer: 'a' })
    const dialled = Array.from({ length: 20 }, (_, i) =>
      tell(seen('a', 'one', [`/ip6/fe80::${i}/tcp/2`])),
    ).flat()
    assert.deepEqual(dialled[0], { type: 'dial', peer: 'a', addresses: ['/ip6/fe80::0/tcp/2'] })
    assert.equal(dialled.length, 4)
  })
})

describe('many dialers', () => {
  it('dial again where a connection was gone before it was told of', () => {
    const { open } = simulate(641_363_455, 2, 20_000)
    assert.equal(open.size, 1)
  })

  it('end with one connection for each pair, whatever failed on the way', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 2, max: 6 }), (seed, count) => {
        const { open, dials } = simulate(seed, count, 20_000)
        const pairs = [...open.values()].map(({ dialler, target }) =>
          [dialler, target].toSorted().join(),
        )
        assert.equal(new Set(pairs).size, (count * (count - 1)) / 2, 'every pair is connected')
        assert.equal(pairs.length, new Set(pairs).size, 'no pair is connected twice')
        assert.ok(dials < pairs.length * 40 + 200, `${dials} dials`)
      }),
      { numRuns: 30 },
    )
  })
})
