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
