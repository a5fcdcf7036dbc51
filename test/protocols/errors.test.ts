import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import {
  CodedError,
  codesByStatus,
  instead,
  statusError,
  wordedError,
} from '../../protocols/errors.ts'

const LAMP_ERRORS = {
  LAMP_BROKEN: { status: 1, message: 'the lamp is broken' },
  LAMP_FAR: { status: 7, message: 'the lamp is too far away' },
} as const
class LampError extends statusError(LAMP_ERRORS) {}
class OtherError extends statusError(LAMP_ERRORS) {}

const DOOR_ERRORS = { DOOR_SHUT: 'the door is shut' } as const
class DoorError extends wordedError(DOOR_ERRORS) {}
class PlainDoorError extends wordedError(DOOR_ERRORS, instead) {}

describe('an error of a table', () => {
  it('has the code, the name of its class, the words of the table and its cause', () => {
    const cause = new Error('why')
    for (const error of [
      new LampError('LAMP_FAR', undefined, { cause }),
      new DoorError('DOOR_SHUT', undefined, { cause }),
    ]) {
      assert.ok(error instanceof CodedError)
      assert.equal(error.cause, cause)
    }
    const lamp = new LampError('LAMP_FAR')
    assert.deepEqual(
      [lamp.name, lamp.code, lamp.status, lamp.message],
      ['LampError', 'LAMP_FAR', 7, 'the lamp is too far away'],
    )
    const door = new DoorError('DOOR_SHUT')
    assert.deepEqual(
      [door.name, door.code, door.message],
      ['DoorError', 'DOOR_SHUT', 'the door is shut'],
    )
    assert.equal('cause' in door, false)
  })

  it('is of its own class alone', () => {
    assert.ok(new LampError('LAMP_FAR') instanceof LampError)
    assert.equal(new LampError('LAMP_FAR') instanceof OtherError, false)
  })

  it('adds a detail, or says it instead', () => {
    assert.equal(new LampError('LAMP_FAR', '9 m').message, 'the lamp is too far away: 9 m')
    assert.equal(new DoorError('DOOR_SHUT', 'north').message, 'the door is shut: north')
    assert.equal(new PlainDoorError('DOOR_SHUT', 'locked').message, 'locked')
    assert.equal(new PlainDoorError('DOOR_SHUT').message, 'the door is shut')
    assert.equal(new PlainDoorError('DOOR_SHUT', '').message, '')
  })

  it('is found again by its number on the wire', () => {
    const codeOf = codesByStatus(LAMP_ERRORS)
    assert.equal(codeOf(1), 'LAMP_BROKEN')
    assert.equal(codeOf(7), 'LAMP_FAR')
    for (const unknown of [0, 2, -1, 255, Number.NaN]) assert.equal(codeOf(unknown), undefined)
  })
})
