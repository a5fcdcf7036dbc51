import assert from 'node:assert/strict'
import { it } from 'node:test'

import { pair } from '../helpers/pairing-room.ts'

it('closes a window that is just being opened', async () => {
  const room = pair()
  const opening = room.candidate.open()
  await room.candidate.close()
  assert.equal(room.air.count, 0)
  assert.equal(room.candidate.status().open, false)
  await opening
  assert.equal(room.air.count, 0)
})

it('does not end the device where its listener cannot be closed in good order', async () => {
  const room = pair({
    candidate: {
      listen: async () => ({
        addresses: [],
        [Symbol.asyncDispose]: () => Promise.reject(new Error('already gone')),
      }),
    },
  })
  await room.candidate.open()
  // A rejection that nobody handles would fail this test, and end a device.
  await room.clock.advance(600_000)
  assert.equal(room.candidate.status().open, false)
  await room.candidate.open()
  await room.candidate.close()
  assert.equal(room.candidate.status().open, false)
})
