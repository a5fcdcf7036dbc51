import assert from 'node:assert/strict'
import { setImmediate } from 'node:timers/promises'
import { describe, it } from 'node:test'

import pino from 'pino'

import { createEmitter } from '../../node/events.ts'
import { createJournal } from '../../node/journal.ts'
import type { MeshStream } from '../../node/mesh/mesh.ts'
import { startMembers, type Members } from '../../node/services/members/members.ts'
import type { HelloMessage } from '../../protocols/hello/index.ts'
import { grant, rename, revoke, type Op } from '../../protocols/members/index.ts'
import { toHex, type Channel } from '../../protocols/wire/index.ts'
import { virtualClock } from '../helpers/clock.ts'
import { as, genesisOf, keyNamed, put, setOf, signerNamed } from '../helpers/members.ts'

const genesis = genesisOf('ann')
const home = setOf(genesis)
const bob = put(
  home,
  grant(as(home, 'ann'), { subject: keyNamed('bob'), role: 'member', name: 'bob', paired: 'code' }),
)

function serviceOf(name: string): Members {
  const clock = virtualClock()
  return startMembers(
    {
      ops: setOf(genesis, [bob]),
      signer: signerNamed(name),
      store: () => undefined,
      about: () => ({ logs: [], power: 'powered', version: '1', features: [] }),
      clock,
      log: pino({ level: 'silent' }),
      journal: createJournal(clock),
    },
    new AbortController().signal,
  )
}

/** What a peer says, by the name of the message; a promise comes when it is settled. */
function channelOf(
  says: Readonly<Record<string, unknown>>,
  onSend: (name: string, value: unknown) => void,
): Channel {
  return {
    send: async (message: { name: string }, value: unknown) => onSend(message.name, value),
    receive: async (message: { name: string }) => says[message.name],
  } as unknown as Channel
}

describe('a stream that breaks while ops still come in by it', () => {
  it('counts them all the same', async () => {
    const set = setOf(genesis, [bob])
    const removal = revoke(as(set, 'ann'), { subject: keyNamed('bob'), reason: 'lost' })
    const batch = Promise.withResolvers<unknown>()
    const theirs: HelloMessage = {
      home: genesis.id,
      heads: [removal.id],
      epoch: 1,
      state: genesis.id,
      logs: [],
      power: 'powered',
      version: '1',
      features: [],
    }
    const says = {
      hello: theirs,
      'members.have': { home: genesis.id, ids: [] },
      'members.batch': batch.promise,
    }
    const channel = channelOf(says, (name) => {
      if (name === 'members.batch') throw new Error('the stream is reset')
    })
    await using members = serviceOf('cid')
    await assert.rejects(members.greeting.run(channel, keyNamed('ann')), /reset/)
    assert.equal(members.state.devices.size, 2)
    batch.resolve({ ops: [removal.bytes], last: true })
    await setImmediate()
    assert.equal(members.state.devices.size, 1)
  })
})

describe('an act in the very moment in which the last one has been told', () => {
  /** Ids told to bob where a second act comes `turns` microtasks after the first exchange. */
  async function toldAfter(turns: number): Promise<{ told: Set<string>; acts: readonly Op[] }> {
    await using members = serviceOf('ann')
    const told = new Set<string>()
    const acts: Op[] = []
    const act = (name: string): void => {
      acts.push(...members.act((context) => rename(context, keyNamed('bob'), name)))
    }
    const says = {
      'members.have': { home: genesis.id, ids: [] },
      'members.batch': { ops: [], last: true },
    }
    const channel = channelOf(says, (name, value) => {
      if (name !== 'members.batch') return
      for (const bytes of (value as { ops: Uint8Array[] }).ops) told.add(toHex(bytes))
    })
    const stream = (): MeshStream => ({
      channel,
      signal: new AbortController().signal,
      abort: () => undefined,
      async [Symbol.asyncDispose]() {
        if (acts.length > 1) return
        void (async () => {
          for (let turn = 0; turn < turns; turn++) await Promise.resolve()
          act('second')
        })()
      },
    })
    await members.attach({
      events: createEmitter(() => undefined),
      serve: async () => undefined,
      open: async () => stream(),
      peers: () => [{ key: keyNamed('bob'), address: '', direction: 'inbound', sinceMs: 0 }],
      setMembers: () => undefined,
    })
    act('first')
    for (let i = 0; i < 5; i++) await setImmediate()
    return { told, acts }
  }

  it('is told too', async () => {
    for (let turns = 0; turns < 16; turns++) {
      const { told, acts } = await toldAfter(turns)
      assert.equal(acts.length, 2)
      for (const { bytes } of acts) assert.ok(told.has(toHex(bytes)), `after ${turns} turns`)
    }
  })
})
