/** What owners decide about updates, as people say it and as the home's policy has it. */
import { fingerprintOf, keyOfPeerId } from '../../protocols/identity/index.ts'
import { setPolicy } from '../../protocols/members/index.ts'
import {
  DEFAULT_ROLLOUT,
  deviceLabel,
  formatWindow,
  parseWindow,
  withUpdatePolicy,
  type ChannelPin,
  type Rollout,
  type UpdatePolicy,
} from '../../protocols/update/index.ts'
import { equalBytes, toHex } from '../../protocols/wire/index.ts'
import { resolveDevice } from '../api/device-ref.ts'
import type { RolloutChange, UpdateRolloutView } from '../api/view.ts'
import type { DeviceBase } from './base.ts'
import type { UpdatingHome as Home } from './update.ts'
import { deviceRows } from './rows.ts'
import { asNodeError } from './membership-refusals.ts'

/** One owner's act. @throws NodeError NODE_DENIED, NODE_CONFLICT; UpdateError UPDATE_BAD_POLICY */
export function setUpdatePolicy({ members, updates }: Home, next: UpdatePolicy): void {
  const bytes = withUpdatePolicy(members.state.policy, next)
  asNodeError(() => members.act((context) => setPolicy(context, bytes)))
  void updates.updates.look()
}

/** The channels with one more, or another root of one. */
export function withChannel(
  { channels, rollout }: UpdatePolicy,
  { name, root }: ChannelPin,
): UpdatePolicy {
  const others = channels.filter((one) => one.name !== name)
  return { channels: [...others, { name, root }], rollout }
}

export function changedRollout(base: DeviceBase, home: Home, change: RolloutChange): Rollout {
  const now = home.updates.policy().rollout
  const { window: _, ...rest } = now
  const window = windowOf(now, change)
  return {
    ...rest,
    ...(window === undefined ? {} : { window }),
    ...named(now, change),
    groups: groupsAfter(base, home, change),
    rings: change.rings?.map(defined) ?? now.rings,
    haltPercent: change.haltPercent ?? now.haltPercent,
    dnd: change.dnd ?? now.dnd,
    securityAtOnce: change.securityAtOnce ?? now.securityAtOnce,
  }
}

function windowOf(now: Rollout, { window }: RolloutChange): Rollout['window'] {
  if (window === undefined) return now.window
  return window === '' ? undefined : parseWindow(window)
}

/** What is said by the name of a release. */
function named(
  { paused, pins, defer }: Rollout,
  change: RolloutChange,
): Pick<Rollout, 'paused' | 'pins' | 'defer'> {
  const { pause, resume, pin, unpin, defer: later } = change
  const still = resume === '*' ? [] : paused.filter((name) => name !== resume && name !== pause)
  const otherPins = pins.filter(({ name }) => name !== unpin && name !== pin?.name)
  const otherDefers = defer.filter(({ name }) => name !== later?.name)
  return {
    paused: pause === undefined ? still : [...still, pause],
    pins: pin === undefined ? otherPins : [...otherPins, pin],
    defer: later === undefined ? otherDefers : [...otherDefers, later],
  }
}

function groupsAfter(base: DeviceBase, home: Home, { group }: RolloutChange): Rollout['groups'] {
  const { groups } = home.updates.policy().rollout
  if (group === undefined) return groups
  const others = groups.filter(({ name }) => name !== group.name)
  if (group.devices.length === 0) return others
  const rows = deviceRows(base, home)
  const devices = group.devices.map((ref) => deviceLabel(keyOfPeerId(resolveDevice(ref, rows).id)))
  return [...others, { name: group.name, devices }]
}

function defined({
  devices,
  percent,
  minHealthyMs,
}: NonNullable<RolloutChange['rings']>[number]): Rollout['rings'][number] {
  return {
    minHealthyMs,
    ...(devices === undefined ? {} : { devices }),
    ...(percent === undefined ? {} : { percent }),
  }
}

export function rolloutView(home: Home, rollout: Rollout = DEFAULT_ROLLOUT): UpdateRolloutView {
  const { rings, haltPercent, window, dnd, paused, pins, defer, securityAtOnce, groups } = rollout
  const labels = home.members.active().map(({ key }) => ({ key, label: deviceLabel(key) }))
  const shown = (label: Uint8Array): string => {
    const found = labels.find((one) => equalBytes(one.label, label))
    return found === undefined ? toHex(label) : fingerprintOf(found.key)
  }
  return {
    rings,
    haltPercent,
    window: window === undefined ? null : formatWindow(window),
    dnd,
    paused,
    pins,
    deferred: defer,
    securityAtOnce,
    groups: groups.map(({ name, devices }) => ({ name, devices: devices.map(shown) })),
  }
}
