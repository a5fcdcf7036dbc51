/** Calls in words: what was asked, what became of it, and why it was asked. */
import type { CallView, CauseView, WhyView } from '../api/view.ts'
import { printable } from '../printable.ts'
import { dueText, momentText } from './moments.ts'
import { plainText } from './schemas.ts'

/** "on = true", "fade({"to":30})", "on". */
export function callText({ verb, name, args }: Pick<CallView, 'verb' | 'name' | 'args'>): string {
  if (verb === 'write') return `${name} = ${args === undefined ? '' : plainText(args)}`
  if (verb === 'invoke' && args !== undefined) return `${name}(${plainText(args)})`
  return verb === 'cancel' ? 'take back' : name
}

/** "Queued: thermostat sleeps; delivers by 14:32." */
export function waitText(call: CallView, now: number): string {
  const name = printable(call.device.name)
  const { deliversBy, state, holders } = call
  if (state === 'sent') return `Sent: ${name} has not answered yet.`
  if (state === 'delivered') return `Delivered: ${name} has it, and has not answered yet.`
  const by = deliversBy === undefined ? 'nobody knows when it wakes' : byText(deliversBy, now)
  const kept = state === 'held' ? ` Kept by ${names(holders)}.` : ' Only this device has it so far.'
  return `Queued: ${name} sleeps; ${by}.${kept}`
}

function names(devices: CallView['holders']): string {
  const shown = devices.map(({ name, id }) => printable(name === '' ? id : name))
  const last = shown.at(-1) ?? 'nobody'
  return shown.length < 2 ? last : `${shown.slice(0, -1).join(', ')} and ${last}`
}

function byText(at: number, now: number): string {
  return at < now ? `it was due at ${dueText(at, now)}` : `delivers by ${dueText(at, now)}`
}

/** "held by 2, delivers by 14:32", "done", "denied: …". */
export function stateText({ state, receipt, deliversBy, holders }: CallView, now: number): string {
  if (receipt !== undefined) {
    const { status, detail } = receipt
    return detail === undefined ? status : `${status}: ${detail}`
  }
  if (state !== 'queued' && state !== 'held') return WORDS[state] ?? state
  const by = deliversBy === undefined ? 'nobody knows when' : byText(deliversBy, now)
  return state === 'held' ? `held by ${holders.length}, ${by}` : `queued here alone, ${by}`
}

const WORDS: Readonly<Record<string, string>> = {
  delivered: 'delivered, no answer yet',
  unknown: 'no answer; it may have been done',
}

/** "14:02:11  on = true  by hall-button: rule press-light because button = 1 (…)  done". */
export function whyText(row: WhyView, now: number): string {
  const { by, cause, status, detail, at, verified } = row
  const who = by.name === '' ? by.id : by.name
  const why = cause === undefined ? '' : `: ${causeText(cause, by.id, now)}`
  const became = detail === undefined ? status : `${status}: ${detail}`
  const doubt = verified ? '' : '  NOT VERIFIED'
  return printable(`${momentText(at, now)}  ${callText(row)}  by ${who}${why}  ${became}${doubt}`)
}

function causeText({ rule, device, sensor, seq, at, value }: CauseView, by: string, now: number) {
  // SPEC.md of protocols/calls, "Call": what a gateway was asked for.
  if (seq === 0 && sensor.startsWith('gateway:')) return `asked for from outside, through ${sensor}`
  const whose = device.id === by ? '' : `${device.name === '' ? device.id : device.name}/`
  return `rule ${rule} because ${whose}${sensor} = ${plainText(value)} (reading ${seq}, ${momentText(at, now)})`
}
