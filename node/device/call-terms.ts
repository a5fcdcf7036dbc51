/**
 * From what an owner types, `lamp/toggle;n=3`, to the caps of a grant. Which verbs they are is told by
 * the device's description, where it is known.
 */
import type { ThingModel } from '../../protocols/calls/index.ts'
import { CALL_VERBS, capsName, parseCap, type CallVerb } from '../../protocols/members/index.ts'
import { NodeError } from '../errors.ts'

export interface CalledDevice {
  readonly fingerprint: string
  /** What it last said that it offers; undefined where that is not known here. */
  readonly model?: ThingModel | undefined
}

const EVERY_DEVICE = '*'

/**
 * Caps for `DEVICE/NAME` with limits after `;`. `resolve` finds the device that was meant and throws
 * where there is none. A property is written, an action invoked, an event observed; of a device that
 * is not known the name could be a property or an action, so both are given.
 *
 * @throws NodeError NODE_USAGE, and what `resolve` throws
 */
export function capsOfCalls(
  calls: readonly string[],
  resolve: (device: string) => CalledDevice,
): string[] {
  return [...new Set(calls.flatMap((call) => capsOfCall(call, resolve)))]
}

function capsOfCall(call: string, resolve: (device: string) => CalledDevice): string[] {
  const [what = '', ...terms] = call.split(';')
  const slash = what.lastIndexOf('/')
  const [ref, name] = [what.slice(0, slash), what.slice(slash + 1)]
  if (slash < 1 || name === '') throw unclear(call)
  const { fingerprint, model } =
    ref === EVERY_DEVICE ? { fingerprint: EVERY_DEVICE, model: undefined } : resolve(ref)
  const verbs = verbsOf(name, model)
  if (verbs.length === 0) {
    throw usage(
      `${ref} offers nothing to others that is called ${name}.`,
      `See: kith describe ${ref}`,
    )
  }
  const caps = verbs.map((verb) => [`${verb}:${fingerprint}/${name}`, ...terms].join(';'))
  if (caps.some((cap) => parseCap(cap) === undefined)) throw unclear(call)
  return caps
}

function verbsOf(name: string, model: ThingModel | undefined): readonly CallVerb[] {
  if (model === undefined) return ['write', 'invoke']
  const writable = Object.entries(model.properties).filter(([, one]) => one.writable)
  const offered: Readonly<Record<CallVerb, readonly string[]>> = {
    write: writable.map(([one]) => one),
    invoke: Object.keys(model.actions),
    observe: Object.keys(model.events),
  }
  return CALL_VERBS.filter((verb) => offered[verb].some((one) => isMeant(verb, one, name)))
}

/** The pattern that was typed means `name`, as a cap would. */
function isMeant(verb: CallVerb, name: string, pattern: string): boolean {
  return capsName([`${verb}:${EVERY_DEVICE}/${pattern}`], { verb, device: '', name })
}

function unclear(call: string): NodeError {
  return usage(
    `"${call}" does not say what may be called.`,
    'Write DEVICE/NAME, like lamp/toggle, lamp/level;v=0..50, "lamp/mode;v=eco|off" or door/open;n=3;t=0800-2000;d=1-5.',
  )
}

function usage(message: string, hint: string): NodeError {
  return new NodeError('NODE_USAGE', message, { hint: `Nothing was changed. ${hint}` })
}
