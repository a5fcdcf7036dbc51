/** One device: how it is, what it measures, and what an owner may do with it. */
import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'

import type { DeviceRow, DeviceState, Reading } from '../../api/view.ts'
import { Chart, type Point } from './chart.ts'
import type { Client } from './client.ts'
import { Controls } from './controls.ts'
import {
  showAgo,
  showClock,
  showDue,
  showMoment,
  showSensor,
  showText,
  showValue,
} from './format.ts'
import { extent, type DeviceSeries, type Series } from './series.ts'
import type { Uses } from './uses.ts'

/** A reading older than this is told as old. */
const STALE_MS = 2 * 60 * 1000

const STATE_TEXT: Readonly<Record<DeviceState, string>> = {
  online: 'Online',
  asleep: 'Asleep',
  late: 'Late',
  lost: 'Lost',
  removed: 'Removed',
  unknown: 'Not seen yet',
}

export interface DeviceCardProps {
  readonly device: DeviceRow
  readonly series: DeviceSeries | undefined
  /** What it lets this device do; undefined where that is nothing, or not known. */
  readonly uses: Uses | undefined
  readonly client: Client
  readonly onUsed: () => void
  readonly now: number
  /** Whether this device may change the home. */
  readonly owner: boolean
  readonly onRename: (device: DeviceRow) => void
  readonly onRemove: (device: DeviceRow) => void
}

export function DeviceCard(props: DeviceCardProps): VNode {
  const { device, series, uses, client, onUsed, now } = props
  const sensors = [...(series?.values() ?? [])].toSorted((a, b) => (a.sensor < b.sensor ? -1 : 1))
  return html`<li class="card device" data-device=${device.id} data-state=${device.state}>
    <div class="card-head">
      <h3>
        <bdi>${device.name === '' ? device.fingerprint : device.name}</bdi>
        ${device.self ? html` <span class="tag">this device</span>` : null}
      </h3>
      <${StateBadge} device=${device} now=${now} />
    </div>
    <p class="meta">${metaOf(device, now)}</p>
    ${
      sensors.length === 0
        ? html`<p class="none">No readings in the last hour.</p>`
        : html`<ul class="sensors">
            ${sensors.map((one) => html`<${Sensor} key=${one.sensor} series=${one} now=${now} />`)}
          </ul>`
    }
    ${
      uses === undefined || device.state === 'removed'
        ? null
        : html`<${Controls}
            client=${client}
            device=${device}
            uses=${uses}
            now=${now}
            onDone=${onUsed}
          />`
    }
    <${Actions} ...${props} />
  </li>`
}

interface BadgeProps {
  readonly device: DeviceRow
  readonly now: number
}

function StateBadge({ device: { state, dueAt }, now }: BadgeProps): VNode {
  const due = dueAt === undefined || !SLEEPING.has(state) ? '' : showDue(dueAt, now)
  return html`<span class="state" data-state=${state}>
    <span class="dot" aria-hidden="true"></span>
    <span
      >${STATE_TEXT[state]}${due === '' ? null : html`<${Due} text=${due} at=${dueAt ?? now} />`}</span
    >
  </span>`
}

function Due({ text, at }: { readonly text: string; readonly at: number }): VNode {
  return html`<span class="due" title=${showMoment(at)}>, ${text}</span>`
}

const SLEEPING: ReadonlySet<DeviceState> = new Set(['asleep', 'late', 'lost'])

function metaOf(device: DeviceRow, now: number): unknown[] {
  const seen =
    device.self || device.state === 'online' || device.lastSeen === null
      ? undefined
      : html`<span title=${showMoment(device.lastSeen)}
          >seen ${showAgo(device.lastSeen, now)}</span
        >`
  const facts = [
    device.role,
    seen,
    device.version === null ? undefined : `Kith ${device.version}`,
    html`<span class="mono" title="Fingerprint of its key">${device.fingerprint}</span>`,
  ].filter((fact) => fact !== undefined && fact !== null)
  return facts.flatMap((fact, index) => (index === 0 ? [fact] : [' · ', fact]))
}

function Actions({ device, owner, onRename, onRemove }: DeviceCardProps): VNode | null {
  if (!owner || device.state === 'removed') return null
  return html`<div class="actions">
    <button class="quiet" aria-label="Rename ${device.name}" onClick=${() => onRename(device)}>
      Rename
    </button>
    ${
      device.self
        ? null
        : html`<button
            class="quiet danger"
            aria-label="Remove ${device.name}"
            onClick=${() => onRemove(device)}
          >
            Remove
          </button>`
    }
  </div>`
}

function Sensor({ series, now }: { readonly series: Series; readonly now: number }): VNode {
  const [point, setPoint] = useState<Point | undefined>(undefined)
  const { last, unit, whole } = series
  const name = showSensor(series.sensor)
  const shown = showValue(last.value, unit, whole)
  const text = (value: number): string => showText(value, unit, whole)
  const span = extent(series.values)
  const [low, high] = span === undefined ? ['', ''] : [span.min, span.max].map(text)
  const range = low === high ? `steady at ${low}` : `${low} to ${high}`
  const old = now - last.at > STALE_MS
  return html`<li class="sensor" data-sensor=${series.sensor}>
    <div class="reading">
      <span class="sensor-name">${name} <${Proof} reading=${last} /></span>
      <span class="value ${old ? 'old' : ''}" title=${showMoment(last.at)}>
        ${shown.value}${shown.unit === '' ? null : html` <span class="unit">${shown.unit}</span>`}
      </span>
    </div>
    <${Chart}
      series=${series}
      now=${now}
      label="${name} in the last hour: ${range}"
      onPoint=${setPoint}
    />
    <div class="under">
      <span> ${point === undefined ? range : `${showClock(point.at)}: ${text(point.value)}`} </span>
      <span>${old ? showAgo(last.at, now) : ''}</span>
    </div>
  </li>`
}

function Proof({ reading }: { readonly reading: Reading }): VNode {
  if (reading.verified) {
    return html`<span
      class="badge good"
      role="img"
      aria-label="verified"
      title="Signed by the device and checked here"
      >✓</span
    >`
  }
  return reading.source === 'extract'
    ? html`<span class="badge told" title="This device is a guest: it gets readings without proof"
        >told by the device, no proof</span
      >`
    : html`<span class="badge bad" title="The signature was not checked">not verified</span>`
}
