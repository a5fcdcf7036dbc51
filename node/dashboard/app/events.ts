/** What happened lately, newest first, in sentences. */
import { html } from 'htm/preact'
import type { VNode } from 'preact'

import type { EventView } from '../../api/view.ts'
import { showAgo, showMoment } from './format.ts'

const SHOWN = 12

/** Sentences for the types that are known; `{name}` stands for that field of the event's data. */
const SENTENCES: ReadonlyMap<string, string> = new Map([
  ['pairing.opened', 'This device waits to be added to a home'],
  ['pairing.tried', 'Pairing: {text}'],
  ['pairing.paired', 'This device joined {home} as {role}'],
  ['pairing.closed', 'The pairing window closed: {reason}'],
])

export interface EventsProps {
  readonly events: readonly EventView[]
  readonly now: number
}

export function Events({ events, now }: EventsProps): VNode {
  if (events.length === 0) {
    return html`<p class="none">Nothing since this device was started.</p>`
  }
  return html`<ul class="events">
    ${events.slice(0, SHOWN).map(
      ({ id, type, at, data }) =>
        html`<li key=${id}>
          <time title=${showMoment(at)} datetime=${new Date(at).toISOString()}>
            ${showAgo(at, now)}
          </time>
          <span>${showEvent(type, data)}</span>
        </li>`,
    )}
  </ul>`
}

/** An unknown type is told by its own words and its data. */
export function showEvent(type: string, data: Readonly<Record<string, unknown>>): string {
  const sentence = SENTENCES.get(type)
  if (sentence !== undefined) {
    return sentence.replaceAll(/\{(\w+)\}/g, (_, field: string) => word(data[field]))
  }
  const words = type.replaceAll(/[._-]+/g, ' ')
  const facts = Object.entries(data).map(([field, value]) => `${field} ${word(value)}`)
  const text = words.charAt(0).toUpperCase() + words.slice(1)
  return facts.length === 0 ? text : `${text}: ${facts.join(', ')}`
}

function word(value: unknown): string {
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  return value === undefined || value === null ? '–' : JSON.stringify(value)
}
