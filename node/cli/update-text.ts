/** Updates as text for people. */
import type {
  ChannelStateView,
  DeviceUpdateView,
  InstalledView,
  UpdateRingView,
  UpdateRolloutView,
  UpdatesState,
} from '../api/view.ts'
import { formatDuration } from '../config-values.ts'
import { printable } from '../printable.ts'
import { ago, dateText, table } from './print.ts'
import { sizeText } from './update-place.ts'

export function listText({
  channels,
  installed,
}: {
  readonly channels: readonly ChannelStateView[]
  readonly installed: readonly InstalledView[]
}): string {
  if (channels.length === 0) return 'This home has no channel yet: kith update init'
  const here = new Map(installed.map((one) => [one.name, one]))
  return channels
    .map((channel) => {
      const head = `Channel ${printable(channel.name)}${channel.signedHere ? ', signed here' : ''}${channel.expiresAt === null ? '' : `, good until ${dateText(channel.expiresAt)}`}`
      const blocked =
        channel.blocked === null ? [] : [`Nothing new is installed: ${channel.blocked}`]
      const rows = channel.releases.map((one) => {
        const own = here.get(one.name)
        const mark = own?.build === one.build ? 'runs here' : ''
        const id = one.id.slice(0, 16)
        return [one.name, one.version, String(one.build), id, one.conflict ? 'CONFLICT' : mark]
      })
      const body =
        rows.length === 0
          ? 'No release yet.'
          : table(['NAME', 'VERSION', 'BUILD', 'INDEX', ''], rows)
      return [head, ...blocked, body].join('\n')
    })
    .join('\n\n')
}

export function statusText({ devices, rollout, channels }: UpdatesState, now: number): string {
  if (channels.length === 0) return 'This home has no channel yet: kith update init'
  const paused =
    rollout.paused.length === 0 ? [] : [`Paused: ${rollout.paused.map(pausedText).join(', ')}`]
  if (devices.length === 0) return [...paused, 'No device has said anything yet.'].join('\n')
  return [
    ...paused,
    table(
      ['DEVICE', 'NAME', 'RUNS', 'VERSION', 'PHASE', 'SINCE', 'FROM', ''],
      devices.map((one) => [
        one.self ? `${one.deviceName} (this)` : one.deviceName,
        one.name,
        one.runs === null ? '-' : `${one.runs.version} (${one.runs.build})`,
        `${one.version} (${one.build})`,
        phaseText(one),
        ago(one.at, now),
        fromText(one),
        whyText(one),
      ]),
    ),
  ].join('\n')
}

function pausedText(name: string): string {
  return name === '*' ? 'everything' : printable(name)
}

function phaseText({ phase, percent, ring }: DeviceUpdateView): string {
  if (phase === 'fetching' && percent !== null) return `fetching ${percent} %`
  return phase === 'waiting' && ring !== null ? `waiting, ring ${ring + 1}` : phase
}

function fromText({ from }: DeviceUpdateView): string {
  const shown = from.slice(0, 3).map(({ name, bytes }) => `${name} ${sizeText(bytes)}`)
  const more = from.length > 3 ? [`${from.length - 3} more`] : []
  return from.length === 0 ? '-' : [...shown, ...more].join(', ')
}

const WORDS: Readonly<Record<string, string>> = {
  ROLLOUT_NOT_FOR: 'it is not for this device',
  ROLLOUT_REQUIRES: 'it needs another release first',
  ROLLOUT_PAUSED: 'paused by an owner',
  ROLLOUT_PINNED: 'an owner has chosen another build',
  ROLLOUT_DEFERRED: 'put off by an owner',
  ROLLOUT_HALTED: 'it made other devices ill',
  ROLLOUT_RING: 'other devices try it first',
  ROLLOUT_BEYOND: 'no ring reaches it',
  ROLLOUT_WINDOW: 'it waits for its hours',
  ROLLOUT_BUSY: 'the device is in use',
  ROLLBACK_BY_HAND: 'by hand',
  UPDATE_ILL: 'it was not well',
}

function whyText({ why, code, until }: DeviceUpdateView): string {
  const known = code === null ? '' : (WORDS[code] ?? code)
  const text = why ?? known
  return until === null ? text : `${text}, until ${dateText(until)}`
}

export function rolloutText(rollout: UpdateRolloutView): string {
  const { rings, haltPercent, window, dnd, securityAtOnce, paused, pins, deferred, groups } =
    rollout
  const rows = [
    ['rings', rings.map(ringText).join(', then ')],
    ['halts', `when more than ${haltPercent} % of a ring went back`],
    ['window', window ?? 'any time'],
    ['while in use', dnd ? 'nothing is installed' : 'makes no difference'],
    ['security', securityAtOnce ? 'at once' : 'like others'],
    ['paused', paused.length === 0 ? '-' : paused.map(pausedText).join(', ')],
    ['pinned', pins.map(({ name, build }) => `${name} at ${build}`).join(', ') || '-'],
    [
      'put off',
      deferred
        .map(({ name, build, until }) => `${name} ${build} until ${dateText(until)}`)
        .join(', ') || '-',
    ],
    ...groups.map(({ name, devices }) => [`group ${name}`, devices.join(', ')]),
  ]
  return rows
    .map(([key = '', value = '']) => `${printable(key).padEnd(14)}${printable(value)}`)
    .join('\n')
}

function ringText({ devices, percent, minHealthyMs }: UpdateRingView): string {
  const share =
    devices === undefined ? `${percent} %` : `${devices} ${devices === 1 ? 'device' : 'devices'}`
  return minHealthyMs === 0 ? share : `${share} for ${formatDuration(minHealthyMs)}`
}
