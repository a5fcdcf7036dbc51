/** What happened lately, newest first, in sentences. */
import { html } from 'htm/preact'
import type { VNode } from 'preact'

import type { DeviceRow, EventView } from '../../api/view.ts'
import { showAgo, showMoment } from './format.ts'

const SHOWN = 12

/**
 * Sentences for the types that are known; `{name}` stands for that field of the event's data, and a
 * peer id is told by the device's name.
 */
const SENTENCES: ReadonlyMap<string, string> = new Map([
  ['home.renamed', 'The home is now called {name}'],
  ['member.added', '{name} was added as {role}'],
  ['member.removed', '{name} was removed'],
  ['member.renamed', '{was} is now called {name}'],
  ['member.role', '{name} is now {role}; it was {was}'],
  ['members.disagree', '{device} reads the home’s membership differently: please report this'],
  ['members.equivocation', '{device} signed two contradicting changes of the home: look into it'],
  ['pairing.tried', '{text}'],
  ['pairing.paired', 'This device joined a home as {role}, by {by}'],
  ['pairing.closed', 'The pairing window closed: {reason}'],
])

export interface EventsProps {
  readonly events: readonly EventView[]
  readonly devices: readonly DeviceRow[]
  readonly now: number
}

export function Events({ events, devices, now }: EventsProps): VNode {
  if (events.length === 0) {
    return html`<p class="none">Nothing since this device was started.</p>`
  }
  const names = new Map(devices.map(({ id, name }) => [id, name]))
  return html`<ul class="events">
    ${events.slice(0, SHOWN).map(
      ({ id, type, at, data }) =>
        html`<li key=${id}>
          <time title=${showMoment(at)} datetime=${new Date(at).toISOString()}>
            ${showAgo(at, now)}
          </time>
          <span>${showEvent({ type, data }, names)}</span>
        </li>`,
    )}
  </ul>`
}

/** An unknown type is told by its own words and its data. `names`: peer id → name. */
export function showEvent(
  { type, data }: Pick<EventView, 'type' | 'data'>,
  names: ReadonlyMap<string, string>,
): string {
  const tell = (value: unknown): string => {
    if (typeof value === 'string') return names.get(value) ?? value
    if (typeof value === 'number' || typeof value === 'boolean') return String(value)
    return value === undefined || value === null ? '–' : JSON.stringify(value)
  }
  const sentence = SENTENCES.get(type)
  if (sentence !== undefined) {
    return sentence.replaceAll(/\{(\w+)\}/g, (_, field: string) => tell(data[field]))
  }
  const words = type.replaceAll(/[._-]+/g, ' ')
  const facts = Object.entries(data).map(([field, value]) => `${field} ${tell(value)}`)
  const text = words.charAt(0).toUpperCase() + words.slice(1)
  return facts.length === 0 ? text : `${text}: ${facts.join(', ')}`
}
