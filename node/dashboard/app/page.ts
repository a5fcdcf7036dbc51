/** The whole page: who this is, the devices, what happened, and what to do where there is no home. */
import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'

import type { DeviceRow, DeviceState } from '../../api/view.ts'
import { AddDevice } from './add-device.ts'
import { RemoveDevice, RenameDevice } from './change-device.ts'
import type { Client } from './client.ts'
import { DeviceCard } from './device-card.ts'
import { Events } from './events.ts'
import { showSpan } from './format.ts'
import { INITIAL, startLive, type State } from './live.ts'
import { Loading, NoHome, NotMember, SignedOut } from './notices.ts'

const TICK_MS = 5000

type Open =
  | { readonly what: 'add' }
  | { readonly what: 'rename' | 'remove'; readonly device: DeviceRow }

export function Page({ client }: { readonly client: Client }): VNode {
  const [state, setState] = useState<State>(INITIAL)
  const live = useMemo(() => startLive(client, setState), [client])
  useEffect(() => () => live.stop(), [live])
  useEffect(() => {
    const home = state.status?.home?.name
    document.title = home === undefined ? 'Kith' : `${home} · Kith`
  }, [state.status?.home?.name])

  return html`
    <${Header} state=${state} />
    <${Connection} retryAt=${state.retryAt} onRetry=${live.refresh} />
    <main id="main" class=${state.retryAt === undefined ? undefined : 'stale'}>
      <${Content} state=${state} client=${client} refresh=${live.refresh} reuse=${live.reuse} />
    </main>
  `
}

function Header({ state: { status } }: { readonly state: State }): VNode {
  const now = useNow(TICK_MS)
  const facts =
    status === undefined
      ? []
      : [
          `on ${status.device.name}`,
          status.role,
          status.home === null ? null : peers(status.peers),
          `running for ${showSpan(now - status.startedAt)}`,
        ].filter((fact) => fact !== null)
  return html`<header>
    <img src="/icon.svg" alt="" width="36" height="36" />
    <div>
      <h1><bdi>${status?.home?.name ?? 'Kith'}</bdi></h1>
      ${facts.length === 0 ? null : html`<p class="meta">${facts.join(' · ')}</p>`}
    </div>
  </header>`
}

function peers(count: number): string {
  if (count === 0) return 'no other device connected'
  return count === 1 ? '1 device connected' : `${count} devices connected`
}

interface ConnectionProps {
  readonly retryAt: number | undefined
  readonly onRetry: () => void
}

function Connection({ retryAt, onRetry }: ConnectionProps): VNode {
  const now = useNow(1000)
  const seconds = retryAt === undefined ? 0 : Math.max(0, Math.ceil((retryAt - now) / 1000))
  return html`<div class="connection" role="status">
    ${
      retryAt === undefined
        ? null
        : html`<div class="banner">
            <span>
              <strong>This device does not answer.</strong> Is Kith running? Retrying${' '}
              <span aria-hidden="true">${seconds === 0 ? 'now' : `in ${seconds} s`}</span>.
            </span>
            <button onClick=${onRetry}>Try now</button>
          </div>`
    }
  </div>`
}

interface ContentProps {
  readonly state: State
  readonly client: Client
  readonly refresh: () => void
  readonly reuse: (device: string) => void
}

function Content({ state, client, refresh, reuse }: ContentProps): VNode {
  const { phase, status } = state
  if (phase === 'signed-out') return html`<${SignedOut} refusal=${state.refusal} />`
  if (status === undefined) return html`<${Loading} />`
  if (status.home === null) return html`<${NoHome} device=${status.device.name} />`
  return html`<${Home} state=${state} client=${client} refresh=${refresh} reuse=${reuse} />`
}

function Home({ state, client, refresh, reuse }: ContentProps): VNode {
  const [open, setOpen] = useState<Open | undefined>(undefined)
  const now = useNow(TICK_MS)
  const owner = state.status?.role === 'owner'
  const close = (): void => setOpen(undefined)
  const done = (): void => {
    close()
    refresh()
  }
  const [here, gone] = [false, true].map((removed) =>
    state.devices.filter((device) => (device.state === 'removed') === removed).toSorted(byPlace),
  )
  const cards = (devices: readonly DeviceRow[] = []): VNode =>
    html`<ul class="cards">
      ${devices.map(
        (device) =>
          html`<${DeviceCard}
            key=${device.id}
            device=${device}
            series=${state.series.get(device.id)}
            uses=${state.uses.get(device.id)}
            client=${client}
            onUsed=${() => reuse(device.id)}
            now=${now}
            owner=${owner}
            onRename=${() => setOpen({ what: 'rename', device })}
            onRemove=${() => setOpen({ what: 'remove', device })}
          />`,
      )}
    </ul>`

  return html`
    ${state.status?.role === null ? html`<${NotMember} />` : null}
    <section aria-labelledby="devices-title">
      <div class="section-head">
        <h2 id="devices-title">Devices</h2>
        ${
          owner
            ? html`<button class="main" onClick=${() => setOpen({ what: 'add' })}>
                Add a device
              </button>`
            : html`<span class="meta">Only an owner’s device can change the home.</span>`
        }
      </div>
      ${cards(here)}
      ${
        gone === undefined || gone.length === 0
          ? null
          : html`<details>
              <summary>Removed devices (${gone.length})</summary>
              ${cards(gone)}
            </details>`
      }
    </section>
    <section aria-labelledby="events-title">
      <div class="section-head"><h2 id="events-title">Recent events</h2></div>
      <${Events} events=${state.events} devices=${state.devices} now=${now} />
    </section>
    <${Window} open=${open} client=${client} onClose=${close} onDone=${done} onAdded=${refresh} />
  `
}

interface WindowProps {
  readonly open: Open | undefined
  readonly client: Client
  readonly onClose: () => void
  readonly onDone: () => void
  readonly onAdded: () => void
}

function Window({ open, client, onClose, onDone, onAdded }: WindowProps): VNode | null {
  if (open === undefined) return null
  if (open.what === 'add') {
    return html`<${AddDevice} client=${client} onClose=${onClose} onAdded=${onAdded} />`
  }
  const change = open.what === 'rename' ? RenameDevice : RemoveDevice
  const { device } = open
  return html`<${change} client=${client} device=${device} onClose=${onClose} onDone=${onDone} />`
}

/** This device first, then those that speak, then those that are silent; by name among them. */
const PLACES: Readonly<Record<DeviceState, number>> = {
  online: 0,
  asleep: 0,
  late: 1,
  lost: 2,
  unknown: 3,
  removed: 4,
}

function byPlace(a: DeviceRow, b: DeviceRow): number {
  if (a.self !== b.self) return a.self ? -1 : 1
  return PLACES[a.state] - PLACES[b.state] || a.name.localeCompare(b.name)
}

/** The time, anew every `everyMs`. */
function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now())
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs)
    return () => clearInterval(timer)
  }, [everyMs])
  return now
}
