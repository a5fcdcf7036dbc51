/** The form that admits the device whose code the person reads from its screen. */
import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'

import type { AddedDeviceView, Role } from '../../api/view.ts'
import type { Client } from './client.ts'
import { Dialog, Trouble, troubleOf, type Problem } from './dialog.ts'
import { CODE_DIGITS, spaceCode } from './format.ts'

const ROLE_CHOICES: readonly (readonly [Role, string])[] = [
  ['member', 'Member: measures and reads'],
  ['sensor', 'Sensor: only measures'],
  ['gateway', 'Gateway: passes readings on'],
  ['guest', 'Guest: only reads'],
  ['owner', 'Owner: also adds and removes'],
]
const NAME_LENGTH = 64

export interface AddDeviceProps {
  readonly client: Client
  readonly onClose: () => void
  readonly onAdded: () => void
}

type Step =
  | { readonly at: 'form' }
  | { readonly at: 'looking'; readonly stop: AbortController }
  | { readonly at: 'added'; readonly device: AddedDeviceView }

export function AddDevice({ client, onClose, onAdded }: AddDeviceProps): VNode {
  const [step, setStep] = useState<Step>({ at: 'form' })
  const [problem, setProblem] = useState<Problem | undefined>(undefined)

  async function add(code: string, role: Role, name: string): Promise<void> {
    const stop = new AbortController()
    setProblem(undefined)
    setStep({ at: 'looking', stop })
    try {
      const input = { code, role, ...(name === '' ? {} : { name }) }
      setStep({ at: 'added', device: await client.add(input, stop.signal) })
      onAdded()
    } catch (error) {
      setStep({ at: 'form' })
      if (!stop.signal.aborted) setProblem(troubleOf(error))
    }
  }

  function close(): void {
    if (step.at === 'looking') step.stop.abort()
    onClose()
  }

  if (step.at === 'added') {
    return html`<${Dialog} title="Added" step=${step.at} onClose=${close}>
      <p role="status">
        <strong><bdi>${step.device.name}</bdi></strong> now belongs to this home, as ${step.device.role}.
      </p>
      <div class="buttons"><button class="main" data-first onClick=${close}>Done</button></div>
    </${Dialog}>`
  }
  const looking = step.at === 'looking'
  return html`<${Dialog} title="Add a device" step=${step.at} onClose=${close}>
    <p>On the new device run <code>kith pair</code>. It shows a code like${' '}
      <span class="whole">42-1234-5678-9</span>.</p>
    <${Form} busy=${looking} onAdd=${add} onClose=${close} />
    <${Trouble} problem=${problem} />
    ${
      looking
        ? html`<div class="buttons">
            <${Progress} /><button data-first onClick=${() => step.stop.abort()}>Stop</button>
          </div>`
        : null
    }
  </${Dialog}>`
}

interface FormProps {
  readonly busy: boolean
  readonly onAdd: (code: string, role: Role, name: string) => Promise<void>
  readonly onClose: () => void
}

function Form({ busy, onAdd, onClose }: FormProps): VNode {
  const [code, setCode] = useState('')
  const [short, setShort] = useState(false)
  const field = useRef<HTMLInputElement>(null)

  function submit(event: SubmitEvent): void {
    event.preventDefault()
    const missing = code.replaceAll('-', '').length < CODE_DIGITS
    setShort(missing)
    if (missing) {
      field.current?.focus()
      return
    }
    const data = new FormData(event.currentTarget as HTMLFormElement)
    void onAdd(code, data.get('role') as Role, (data.get('name') as string).trim())
  }

  function typed(event: InputEvent): void {
    const input = event.currentTarget as HTMLInputElement
    setCode(spaceCode(input.value))
    setShort(false)
  }

  return html`<form onSubmit=${submit} novalidate>
    <fieldset disabled=${busy}>
      <label for="code">Code</label>
      <input
        id="code"
        class="code"
        ref=${field}
        value=${code}
        onInput=${typed}
        inputmode="numeric"
        autocomplete="off"
        placeholder="00-0000-0000-0"
        aria-invalid=${short}
        aria-describedby="code-help"
        data-first
      />
      <p id="code-help" class="field-help" role=${short ? 'alert' : undefined}>
        ${short ? `The code has ${CODE_DIGITS} digits.` : ''}
      </p>
      <label for="name">Name <span class="optional">(optional)</span></label>
      <input id="name" name="name" maxlength=${NAME_LENGTH} autocomplete="off" />
      <label for="role">What it may do</label>
      <select id="role" name="role">
        ${ROLE_CHOICES.map(([role, text]) => html`<option value=${role}>${text}</option>`)}
      </select>
    </fieldset>
    ${
      busy
        ? null
        : html`<div class="buttons">
            <button type="button" onClick=${onClose}>Cancel</button>
            <button class="main" type="submit">Add</button>
          </div>`
    }
  </form>`
}

function Progress(): VNode {
  const [seconds, setSeconds] = useState(0)
  useEffect(() => {
    const timer = setInterval(() => setSeconds((before) => before + 1), 1000)
    return () => clearInterval(timer)
  }, [])
  return html`<p class="progress">
    <span class="spinner" aria-hidden="true"></span>
    <span role="status">Looking for the device and checking its code…</span>
    <span aria-hidden="true"> ${seconds} s</span>
  </p>`
}
