import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { NodeError } from '../../node/errors.ts'
import { fingerprintOf, peerIdOf } from '../../protocols/identity/index.ts'
import { decodeQr, encodeQr, parseCode } from '../../protocols/pairing/index.ts'
import { type Message } from '../../protocols/wire/index.ts'
import { CANDIDATE_KEY, MEMBER_KEY, OTHER_KEY } from '../helpers/pairing.ts'

import {
  ADDRESS,
  forever,
  pair,
  event,
  happened,
  wrongCode,
  refused,
} from '../helpers/pairing-room.ts'

describe('pairing by code', () => {
  it('adds the device in its role, says so on both sides, and closes the window', async () => {
    const room = pair()
    const { code, since, expiresAt } = await room.candidate.open()
    assert.deepEqual([since, expiresAt], [0, room.clock.now() + 600_000])
    const added = await room.admission.add({ code, role: 'sensor' }, forever)
    assert.deepEqual(added, { key: CANDIDATE_KEY, name: 'Balcony', role: 'sensor' })
    assert.deepEqual(room.granted, [
      { key: CANDIDATE_KEY, role: 'sensor', name: 'Balcony', paired: 'code' },
    ])
    const paired = await event(room, 'pairing.paired')
    assert.deepEqual(
      [paired['homeName'], paired['byName'], paired['role'], paired['by'], paired['byFingerprint']],
      ['Oak Road', 'kitchen', 'sensor', peerIdOf(MEMBER_KEY), fingerprintOf(MEMBER_KEY)],
    )
    assert.equal(room.candidate.status().open, false)
    await room.clock.advance(1000)
    assert.deepEqual(await event(room, 'pairing.closed'), { reason: 'paired' })
    assert.equal(room.air.count, 0)
  })

  it('says after a wrong code how many tries are left, and the second time more', async () => {
    const room = pair()
    const { code } = await room.candidate.open()
    const add = (by: number) =>
      refused(room.admission.add({ code: wrongCode(code, by), role: 'member' }, forever))
    const first = await add(1)
    assert.deepEqual(
      [first.code, first.message],
      ['NODE_PAIRING', 'The code did not match. 4 tries left.'],
    )
    assert.match(first.hint ?? '', new RegExp(fingerprintOf(CANDIDATE_KEY)))
    assert.match((await add(2)).message, /3 tries left.*interfering/)
    assert.equal(room.candidate.status().triesLeft, 3)
    assert.deepEqual(await event(room, 'pairing.tried'), {
      text: `A wrong code was tried from fe80::2, by the device ${fingerprintOf(MEMBER_KEY)}.`,
      triesLeft: 4,
    })
    assert.deepEqual([room.granted, room.accepted], [[], []])
    await room.admission.add({ code, role: 'member' }, forever)
    assert.equal(room.accepted.length, 1)
  })

  it('closes for good after the fifth wrong code, and the right one comes too late', async () => {
    const room = pair()
    const { code } = await room.candidate.open()
    for (let by = 1; by <= 5; by++) {
      await refused(room.admission.add({ code: wrongCode(code, by), role: 'member' }, forever))
    }
    assert.deepEqual(await event(room, 'pairing.closed'), { reason: 'spent' })
    assert.equal(room.air.count, 0)
    const late = await refused(room.admission.add({ code, role: 'member' }, forever))
    assert.deepEqual([late.code, room.granted.length], ['NODE_NOT_FOUND', 0])
  })

  it('succeeds with the last try while wrong ones are under way', async () => {
    const room = pair()
    const { code } = await room.candidate.open()
    const wrong = [1, 2, 3, 4].map((by) =>
      refused(room.admission.add({ code: wrongCode(code, by), role: 'member' }, forever)),
    )
    const right = room.admission.add({ code, role: 'member' }, forever)
    assert.equal((await right).name, 'Balcony')
    await Promise.all(wrong)
    assert.deepEqual(
      (await happened(room)).filter((type) => type === 'pairing.closed'),
      [],
    )
    await room.clock.advance(1000)
    assert.deepEqual(await event(room, 'pairing.closed'), { reason: 'paired' })
    assert.equal(room.accepted.length, 1)
  })

  it('spends no try on a mistyped code', async () => {
    const room = pair()
    const { code } = await room.candidate.open()
    const last = (Number(code.at(-1)) + 1) % 10
    const error = await refused(
      room.admission.add({ code: `${code.slice(0, -1)}${last}`, role: 'member' }, forever),
    )
    assert.deepEqual([error.code, room.candidate.status().triesLeft], ['NODE_USAGE', 5])
  })

  it('finds nobody, or refuses to guess between two', async () => {
    const room = pair()
    const { code } = await room.candidate.open()
    const { discriminator } = parseCode(code)
    await room.air.listen(OTHER_KEY)({ discriminator, handle: async () => undefined }, forever)
    const two = await refused(room.admission.add({ code, role: 'member' }, forever))
    assert.deepEqual(
      [two.code, two.message],
      ['NODE_PAIRING', 'Two devices show the same number. Scan the QR code.'],
    )
    assert.equal(room.candidate.status().triesLeft, 5)
    await room.candidate.close()
    const empty = pair()
    const none = await refused(empty.admission.add({ code, role: 'member' }, forever))
    assert.equal(none.code, 'NODE_NOT_FOUND')
    assert.match(none.hint ?? '', /kith pair/)
  })

  it('is refused where this device may not add devices, before anything is sent', async () => {
    const room = pair({
      admission: {
        requireHome: () => {
          throw new NodeError('NODE_DENIED', 'Only an owner can.')
        },
      },
    })
    const { code } = await room.candidate.open()
    assert.equal(
      (await refused(room.admission.add({ code, role: 'member' }, forever))).code,
      'NODE_DENIED',
    )
    assert.equal(room.candidate.status().triesLeft, 5)
  })
})

describe('pairing by QR code', () => {
  it('needs no multicast, and no zone of ours is in it', async () => {
    const room = pair({ admission: { find: async () => [] } })
    const { qr } = await room.candidate.open()
    assert.deepEqual(decodeQr(qr).addresses, [ADDRESS])
    await room.admission.add({ qr, role: 'owner' }, forever)
    assert.equal(room.granted[0]?.paired, 'qr')
    assert.equal((await event(room, 'pairing.paired'))['role'], 'owner')
  })

  it('tells two devices with one number apart', async () => {
    const room = pair()
    const { code, qr } = await room.candidate.open()
    const { discriminator } = parseCode(code)
    await room.air.listen(OTHER_KEY)({ discriminator, handle: async () => undefined }, forever)
    const { name } = await room.admission.add({ qr, role: 'member', name: 'Porch' }, forever)
    assert.deepEqual([name, room.granted[0]?.name, room.accepted.length], ['Porch', 'Porch', 1])
  })

  it('looks for the device where its addresses do not answer, and says where none does', async () => {
    let answers = false
    const room = pair({
      admission: {
        dial({ addresses, key }, run) {
          if (!answers || addresses.length > 1) return Promise.reject(new AggregateError([]))
          return room.air.dial(key, run)
        },
      },
    })
    const { qr } = await room.candidate.open()
    const ticket = { ...decodeQr(qr), addresses: ['/ip6/fd00::9/tcp/1', '/ip6/fd00::9/tcp/2'] }
    const moved = { qr: encodeQr(ticket), role: 'member' } as const
    const error = await refused(room.admission.add(moved, forever))
    assert.match(error.message, /does not answer/)
    answers = true
    await room.admission.add(moved, forever)
    assert.equal(room.candidate.status().triesLeft, 4)
  })

  it('sends nothing to a device with another key', async () => {
    const room = pair()
    const { qr } = await room.candidate.open()
    const other = encodeQr({ ...decodeQr(qr), key: OTHER_KEY })
    const error = await refused(room.admission.add({ qr: other, role: 'member' }, forever))
    assert.match(error.message, /not the one that was scanned/)
    assert.match(error.hint ?? '', /Nothing was sent/)
    assert.equal(room.candidate.status().triesLeft, 5)
  })

  it('is refused where the text is none', async () => {
    const { admission } = pair()
    for (const qr of ['', 'kith:', 'https://example.org', 'kith:' + 'A'.repeat(4000)]) {
      assert.equal(
        (await refused(admission.add({ qr, role: 'member' }, forever))).code,
        'NODE_USAGE',
      )
    }
  })
})

describe('a run that breaks off', () => {
  it('after the code was proved closes the window, and a second one finds the grant again', async () => {
    let refusing = true
    const room = pair({
      candidate: {
        accept: async () => {
          if (refusing) throw new Error('disk full')
        },
      },
    })
    const { code } = await room.candidate.open()
    const error = await refused(room.admission.add({ code, role: 'member' }, forever))
    assert.equal(error.message, 'The new device refused to join.')
    assert.deepEqual(await event(room, 'pairing.closed'), { reason: 'interrupted' })
    assert.equal(room.air.count, 0)
    refusing = false
    const again = await room.candidate.open()
    await room.admission.add({ code: again.code, role: 'member' }, forever)
    assert.equal(room.granted.length, 2)
  })

  it('before the acknowledgement leaves the new device in the home, and says so to the owner', async () => {
    const room = pair()
    const { code } = await room.candidate.open()
    let sent = 0
    room.air.tap = ({ channel, stream }) => {
      const receive = channel.receive.bind(channel)
      // The fourth message of the candidate is its acknowledgement.
      channel.receive = <T>(message: Message<T>): Promise<T> => {
        if (++sent === 4) stream.abort(new Error('cable pulled'))
        return receive(message)
      }
    }
    const error = await refused(room.admission.add({ code, role: 'member' }, forever))
    assert.equal(error.code, 'NODE_PAIRING')
    assert.match(error.message, /did not confirm/)
    await event(room, 'pairing.paired')
    assert.equal(room.accepted.length, 1)
  })
})

describe('the pairing window', () => {
  it('ends when its time is up, at ten minutes or earlier where asked', async () => {
    for (const [minutes, ms] of [
      [undefined, 600_000],
      [2, 120_000],
      [60, 600_000],
    ] as const) {
      const room = pair()
      await room.candidate.open({ minutes })
      await room.clock.advance(ms - 1)
      assert.equal(room.candidate.status().open, true)
      await room.clock.advance(1)
      assert.deepEqual(await event(room, 'pairing.closed'), { reason: 'expired' })
      assert.deepEqual([room.candidate.status().open, room.air.count], [false, 0])
    }
  })

  it('ends when a person stops it, once', async () => {
    const room = pair()
    await room.candidate.open()
    await room.candidate.close()
    await room.candidate.close()
    assert.deepEqual(await happened(room), ['pairing.closed'])
    assert.deepEqual(room.candidate.status(), { open: false, expiresAt: null, triesLeft: 0 })
  })

  it('opens three times an hour, then says in how many minutes again', async () => {
    const room = pair()
    for (let i = 0; i < 3; i++) {
      await room.candidate.open()
      await room.clock.advance(60_000)
    }
    const error = await refused(room.candidate.open())
    assert.deepEqual(
      [error.code, error.hint],
      ['NODE_PAIRING', 'Nothing is open. Try again in 57 minutes.'],
    )
    assert.equal(room.air.count, 0)
    await room.clock.advance(56 * 60_000)
    assert.match((await refused(room.candidate.open())).hint ?? '', /in 1 minute\./)
    await room.clock.advance(60_000)
    await room.candidate.open()
  })

  it('is one at a time, also where two are asked for at once', async () => {
    const room = pair()
    const [one, two] = await Promise.all([room.candidate.open(), room.candidate.open()])
    assert.equal(room.air.count, 1)
    assert.notEqual(one.code, two.code)
    await room.admission.add({ code: two.code, role: 'member' }, forever)
  })

  it('does not outlive the service, even where it was just being opened', async () => {
    const room = pair()
    const opening = room.candidate.open()
    await Promise.all([opening, room.candidate[Symbol.asyncDispose]()]).catch(() => undefined)
    assert.equal(room.air.count, 0)
    await assert.rejects(room.candidate.open())
  })
})
