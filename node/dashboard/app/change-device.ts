/** The two windows that change a device of the home: a new name, and removal. */
import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useEffect, useState } from 'preact/hooks'

import type { DeviceRow, RemovalView } from '../../api/view.ts'
import type { Client } from './client.ts'
import { Dialog, Trouble, troubleOf, type Problem } from './dialog.ts'

const NAME_LENGTH = 64

export interface ChangeProps {
  readonly client: Client
  readonly device: DeviceRow
  readonly onClose: () => void
  readonly onDone: () => void
}

export function RenameDevice({ client, device, onClose, onDone }: ChangeProps): VNode {
  const [problem, busy, run] = useAction(onDone)

  function submit(event: SubmitEvent): void {
    event.preventDefault()
    const data = new FormData(event.currentTarget as HTMLFormElement)
    const name = (data.get('name') as string).trim()
    if (name === '' || name === device.name) onClose()
    else run(() => client.rename(device.id, name))
  }

  return html`<${Dialog} title="Rename ${device.name}" onClose=${onClose}>
    <form onSubmit=${submit}>
      <fieldset disabled=${busy}>
        <label for="name">New name</label>
        <input
          id="name"
          name="name"
          defaultValue=${device.name}
          maxlength=${NAME_LENGTH}
          autocomplete="off"
          data-first
        />
      </fieldset>
      <${Trouble} problem=${problem} />
      <div class="buttons">
        <button type="button" onClick=${onClose}>Cancel</button>
        <button class="main" type="submit" disabled=${busy}>Rename</button>
      </div>
    </form>
  </${Dialog}>`
}

export function RemoveDevice({ client, device, onClose, onDone }: ChangeProps): VNode {
  const [cuts, setCuts] = useState<RemovalView | undefined>(undefined)
  const [unknown, setUnknown] = useState<Problem | undefined>(undefined)
  const [problem, busy, run] = useAction(onDone)

  useEffect(() => {
    const stop = new AbortController()
    client.removal(device.id, stop.signal).then(setCuts, (error: unknown) => {
      if (!stop.signal.aborted) setUnknown(troubleOf(error))
    })
    return () => stop.abort()
  }, [client, device.id])

  return html`<${Dialog} title="Remove ${device.name}?" onClose=${onClose}>
    <div aria-live="polite">
      ${cuts === undefined ? null : html`<${Cuts} cuts=${cuts} />`}
      ${cuts === undefined && unknown === undefined ? html`<p>Asking what this cuts…</p>` : null}
    </div>
    <${Trouble} problem=${problem ?? unknown} />
    <div class="buttons">
      <button data-first onClick=${onClose}>Keep it</button>
      <button
        class="main danger"
        disabled=${busy || cuts === undefined}
        onClick=${() => run(() => client.remove(device.id))}
      >
        Remove
      </button>
    </div>
  </${Dialog}>`
}

function Cuts({ cuts }: { readonly cuts: RemovalView }): VNode {
  const { connected, alsoRemoved, lastSeq } = cuts
  return html`<ul class="cuts">
    <li>
      Every device of the home refuses it from then on. It can come back only by pairing anew.
    </li>
    ${connected ? html`<li>Its connection to this device is cut at once.</li>` : null}
    ${
      alsoRemoved.length === 0
        ? null
        : html`<li>
            <strong>Also removed, because only it admitted them: ${alsoRemoved.join(', ')}.</strong>
          </li>`
    }
    <li>
      ${
        lastSeq === null
          ? 'There are no readings of it here.'
          : 'Its readings up to now stay, and stay trusted.'
      }
    </li>
  </ul>`
}

/** One action at a time, with what went wrong in the last one. */
function useAction(
  onDone: () => void,
): readonly [Problem | undefined, boolean, (action: () => Promise<void>) => void] {
  const [problem, setProblem] = useState<Problem | undefined>(undefined)
  const [busy, setBusy] = useState(false)

  async function attempt(action: () => Promise<void>): Promise<void> {
    setProblem(undefined)
    setBusy(true)
    try {
      await action()
      onDone()
    } catch (error) {
      setProblem(troubleOf(error))
      setBusy(false)
    }
  }

  return [problem, busy, (action) => void attempt(action)]
}
