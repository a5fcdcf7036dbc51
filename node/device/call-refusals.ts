/**
 * Why a call was not done, for people: what the receipt says, and what can be said before a call
 * waits for hours for a device that will refuse it.
 */
import { checkInput, type Json, type ThingModel } from '../../protocols/calls/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import { NodeError, type NodeErrorCode } from '../errors.ts'
import { nearestNames } from '../nearest.ts'
import type { CallRecord, WantedCall } from '../services/calls/index.ts'

export interface Wish {
  readonly verb: WantedCall['verb']
  readonly name: string
  readonly args?: Json | undefined
  readonly cause?: WantedCall['cause']
}

type Receipt = NonNullable<CallRecord['receipt']>

interface Refusal {
  readonly code: NodeErrorCode
  readonly says: (device: string, name: string) => string
  readonly hint: (device: string, name: string) => string
}

const nothing = (device: string): string =>
  `Nothing was changed. What it has, and takes: kith describe ${device}`

const REFUSALS: Partial<Readonly<Record<Receipt['status'], Refusal>>> = {
  denied: {
    code: 'NODE_DENIED',
    says: (device) => `${device} does not let this device do that`,
    hint: nothing,
  },
  unknown: {
    code: 'NODE_NOT_FOUND',
    says: (device, name) => `${device} has no "${name}" for that`,
    hint: nothing,
  },
  invalid: {
    code: 'NODE_USAGE',
    says: (device, name) => `${device} does not take that for ${name}`,
    hint: nothing,
  },
  timeout: {
    code: 'NODE_TIMEOUT',
    says: (device, name) => `${name} of ${device} did not end in time`,
    hint: (device, name) => `It may have acted all the same: kith why ${device} ${name}`,
  },
  expired: {
    code: 'NODE_TIMEOUT',
    says: (device) => `The call came to ${device} too late`,
    hint: () =>
      'Nothing was changed. Give it longer with --ttl, and look at both clocks with: kith doctor',
  },
}

const OTHERS: Partial<Readonly<Record<Receipt['status'], string>>> = {
  failed: 'did not work',
  superseded: 'was overtaken by a later call',
  cancelled: 'was taken back',
  refused: 'was refused',
  busy: 'was refused, because the device is busy',
}

/** A receipt that is not done. `model` is what the device said last that it has. */
export function refusal(
  device: string,
  wish: Wish,
  { status, detail = '' }: Pick<Receipt, 'status' | 'detail'>,
  model: ThingModel | undefined,
): NodeError {
  const { name } = wish
  const known = REFUSALS[status]
  const why = detail === '' ? '.' : `: ${detail.replace(/\.?$/, '.')}`
  if (known === undefined) {
    return new NodeError('NODE_CONFLICT', `${device}: ${name} ${OTHERS[status] ?? status}${why}`)
  }
  const near = status === 'unknown' ? nearestTo(wish, model) : ''
  return new NodeError(known.code, `${known.says(device, name)}${why}`, {
    hint: `${near}${known.hint(device, name)}`,
  })
}

export function noAnswer(device: string, { id }: Pick<CallRecord, 'id'>): NodeError {
  const call = toHex(id).slice(0, 8)
  return new NodeError('NODE_TIMEOUT', `${device} did not answer.`, {
    hint: `It may have done it all the same: kith calls shows call ${call}, and kith why ${device} what it did.`,
  })
}

/**
 * What the device will refuse, as far as its model tells.
 *
 * @throws NodeError NODE_NOT_FOUND with the nearest names, NODE_USAGE for arguments
 */
export function checkWish(device: string, wish: Wish, model: ThingModel): void {
  const { verb, name, args } = wish
  if (!namesFor(verb, model).includes(name)) {
    throw refusal(device, wish, { status: 'unknown' }, model)
  }
  if (verb === 'read') return
  const schema = verb === 'write' ? model.properties[name]?.schema : model.actions[name]?.input
  const wrong = checkInput(schema, args)
  if (wrong !== undefined) {
    throw refusal(device, wish, { status: 'invalid', detail: wrong }, model)
  }
}

/** What of a device can be read, written or invoked. */
function namesFor(verb: Wish['verb'], { properties, actions }: ThingModel): readonly string[] {
  if (verb === 'invoke') return Object.keys(actions)
  return Object.entries(properties)
    .filter(([, { readable, writable }]) => (verb === 'read' ? readable : writable))
    .map(([name]) => name)
}

/** "Did you mean …? ", or nothing. */
function nearestTo({ verb, name }: Wish, model: ThingModel | undefined): string {
  const near = model === undefined ? [] : nearestNames(name, namesFor(verb, model))
  return near.length === 0 ? '' : `Did you mean ${near.join(' or ')}? `
}
