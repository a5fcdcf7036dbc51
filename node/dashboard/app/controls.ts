/** Switches, fields and buttons for what a device lets this one do, and what it did last. */
import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'

import type { CallView, DeviceRow, Json } from '../../api/view.ts'
import type { Client } from './client.ts'
import { troubleOf } from './dialog.ts'
import { showAgo, showClock, showMoment, showSensor } from './format.ts'
import {
  showWhy,
  valueOf,
  type ActionUse,
  type Field,
  type PropertyUse,
  type Uses,
} from './uses.ts'

export interface ControlsProps {
  readonly client: Client
  readonly device: DeviceRow
  readonly uses: Uses
  readonly now: number
  /** The device was asked to do something: what it says is to be asked again. */
  readonly onDone: () => void
}

type Act = (ask: () => Promise<CallView>) => void

export function Controls({ client, device, uses, now, onDone }: ControlsProps): VNode {
  const [said, setSaid] = useState('')
  const [busy, setBusy] = useState(false)
  const act: Act = (ask) => {
    setBusy(true)
    setSaid('')
    ask()
      .then((call) => setSaid(outcomeText(call)))
      .catch((error: unknown) => {
        const { text, hint } = troubleOf(error)
        setSaid(`${text} ${hint}`.trim())
      })
      .finally(() => {
        setBusy(false)
        onDone()
      })
  }
  const { id } = device
  return html`<div class="controls">
    ${uses.properties.map(
      (use) =>
        html`<${Property}
          key=${use.field.name}
          use=${use}
          device=${device.name}
          busy=${busy}
          onSet=${(value: Json) => act(() => client.write(id, use.field.name, value))}
        />`,
    )}
    ${uses.actions.map(
      (use) =>
        html`<${Action}
          key=${use.name}
          use=${use}
          device=${device.name}
          busy=${busy}
          onCall=${(args: Json | undefined) => act(() => client.invoke(id, use.name, args))}
        />`,
    )}
    <p class="said" role="status">${said}</p>
    ${
      uses.why === undefined
        ? null
        : html`<p class="why">
            <span title=${showMoment(uses.why.at)}>${showAgo(uses.why.at, now)}</span>${': '}
            ${showWhy(uses.why)}
          </p>`
    }
  </div>`
}

function outcomeText(call: CallView): string {
  if (call.receipt !== undefined) return ''
  const by = call.deliversBy === undefined ? '' : ` It has it by ${showClock(call.deliversBy)}.`
  return `The device sleeps; this waits for it.${by}`
}

interface PropertyProps {
  readonly use: PropertyUse
  readonly device: string
  readonly busy: boolean
  readonly onSet: (value: Json) => void
}

function Property({ use, device, busy, onSet }: PropertyProps): VNode {
  const { field, title, value } = use
  const label = showSensor(field.name)
  const [typed, setTyped] = useState<string | undefined>(undefined)
  if (field.kind === 'boolean') {
    return html`<label class="control" title=${title}>
      <span>${label}</span>
      <input
        type="checkbox"
        role="switch"
        aria-label="${label} of ${device}"
        checked=${value === true}
        disabled=${busy}
        onChange=${(event: Event) => {
          const box = event.currentTarget as HTMLInputElement
          const wanted = box.checked
          // The box shows what the device says, not what was wished for.
          box.checked = value === true
          onSet(wanted)
        }}
      />
    </label>`
  }
  const shown = typed ?? plain(value)
  const wanted = valueOf(field, shown)
  const send = (event: Event): void => {
    event.preventDefault()
    setTyped(undefined)
    if (wanted !== undefined) onSet(wanted)
  }
  return html`<form class="control" title=${title} onSubmit=${send}>
    <span>${label}</span>
    <${Input}
      field=${field}
      label="${label} of ${device}"
      value=${shown}
      onInput=${(next: string | boolean) => setTyped(String(next))}
    />
    <button class="quiet" aria-label="Set ${label} of ${device}" disabled=${busy}>Set</button>
  </form>`
}

function plain(value: Json | undefined): string {
  if (value === undefined) return ''
  return typeof value === 'string' ? value : JSON.stringify(value)
}

interface ActionProps {
  readonly use: ActionUse
  readonly device: string
  readonly busy: boolean
  readonly onCall: (args: Json | undefined) => void
}

function Action({ use, device, busy, onCall }: ActionProps): VNode {
  const { name, title, fields } = use
  const label = showSensor(name)
  const [typed, setTyped] = useState<Readonly<Record<string, string | boolean>>>({})
  const send = (event: Event): void => {
    event.preventDefault()
    onCall(argsOf(fields, typed))
  }
  return html`<form class="control" title=${title} onSubmit=${send}>
    ${fields.map(
      (field) =>
        html`<${Input}
          key=${field.name}
          field=${field}
          label="${field.name === '' ? 'Value' : showSensor(field.name)} of ${label}, ${device}"
          hint=${field.name}
          value=${typed[field.name] ?? ''}
          onInput=${(value: string | boolean) => setTyped({ ...typed, [field.name]: value })}
        />`,
    )}
    <button aria-label="${label}: ${device}" disabled=${busy}>${label}</button>
  </form>`
}

/** What is empty is left out, for the device to say whether it is needed. */
function argsOf(
  fields: readonly Field[],
  typed: Readonly<Record<string, string | boolean>>,
): Json | undefined {
  const values = fields.flatMap((field) => {
    const text = typed[field.name] ?? (field.kind === 'boolean' ? false : '')
    const value = text === '' ? undefined : valueOf(field, text)
    return value === undefined ? [] : [[field.name, value] as const]
  })
  if (fields.length === 0) return undefined
  return fields[0]?.name === '' ? values[0]?.[1] : Object.fromEntries(values)
}

interface InputProps {
  readonly field: Field
  readonly label: string
  readonly hint?: string
  readonly value: string | boolean
  readonly onInput: (value: string | boolean) => void
}

function Input({ field, label, hint = '', value, onInput }: InputProps): VNode {
  const { kind, choices, min, max, whole, unit } = field
  const take = (event: Event): void => {
    const from = event.currentTarget as HTMLInputElement
    onInput(kind === 'boolean' ? from.checked : from.value)
  }
  if (kind === 'boolean') {
    return html`<label class="inline">
      <input type="checkbox" aria-label=${label} checked=${value === true} onChange=${take} />
      ${hint}
    </label>`
  }
  if (kind === 'choice') {
    return html`<select aria-label=${label} value=${value} onChange=${take}>
      ${choices.includes(String(value)) ? null : html`<option value=""></option>`}
      ${choices.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}
    </select>`
  }
  const bounds = kind === 'number' ? { type: 'number', min, max, step: whole ? 1 : 'any' } : {}
  return html`<span class="inline">
    <input
      aria-label=${label}
      autocomplete="off"
      placeholder=${hint}
      ...${bounds}
      value=${value}
      onInput=${take}
    />
    ${unit === '' ? null : html`<span class="unit">${unit}</span>`}
  </span>`
}
