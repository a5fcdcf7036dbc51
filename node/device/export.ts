/** The export side of `NodeView`: the home's membership, then the logs, then what was written, as a hash. */
import { createHash } from 'node:crypto'

import {
  encodeExportItem,
  openPack,
  type ExportItem,
  type Pack,
} from '../../protocols/telemetry/index.ts'
import { keyOfPeerId } from '../../protocols/identity/index.ts'
import { toHex } from '../../protocols/wire/index.ts'
import { resolveDevice } from '../api/device-ref.ts'
import type { NodeView } from '../api/view.ts'
import { exportRange, type ExportTimes } from '../storage/export-range.ts'
import type { DeviceBase } from './base.ts'
import type { Home } from './home.ts'
import { deviceRows } from './rows.ts'

/** Packs read from disk at a time. */
const PAGE = 64

export function exportView(
  base: DeviceBase,
  requireHome: () => Home,
): Pick<NodeView, 'exportLogs'> {
  return {
    async *exportLogs({ devices, since: sinceMs, until: untilMs }, signal) {
      const home = requireHome()
      const named = devices.map((ref) => keyOfPeerId(resolveDevice(ref, deviceRows(base, home)).id))
      const wanted = named.length > 0 ? named : base.packs.heads().map(({ device }) => device)
      const once = new Map(wanted.map((key) => [toHex(key), key])).values()
      for (const bytes of exportBytes(base, home, [...once], { sinceMs, untilMs })) {
        if (signal.aborted) return
        yield bytes
      }
    },
  }
}

/** The file's bytes, a few packs at a time, while new ones may still come in. */
function* exportBytes(
  base: DeviceBase,
  home: Home,
  devices: readonly Uint8Array[],
  times: ExportTimes,
): Generator<Uint8Array, void, undefined> {
  const hash = createHash('sha256')
  let items = 0
  for (const item of itemsOf(base, home, devices, times)) {
    const bytes = encodeExportItem(item)
    hash.update(bytes)
    items++
    yield bytes
  }
  yield encodeExportItem({ part: 'end', items, hash: Uint8Array.from(hash.digest()) })
}

function* itemsOf(
  base: DeviceBase,
  { members }: Home,
  devices: readonly Uint8Array[],
  times: ExportTimes,
): Generator<ExportItem, void, undefined> {
  const by = base.signer.key
  const exportedAtMs = Math.max(0, base.clock.now())
  yield { part: 'kith-export-v1', home: members.home, by, exportedAtMs, ...given(times) }
  for (const { op } of members.ops.entries) yield op.bytes
  for (const device of devices) {
    const range = exportRange(base.db, device, times) ?? { from: 0, to: 0 }
    yield { part: 'log', device, ...range }
    yield* packsOf(base, members.home, device, range)
  }
}

function given({ sinceMs, untilMs }: ExportTimes): {
  readonly sinceMs?: number
  readonly untilMs?: number
} {
  return {
    ...(sinceMs === undefined ? {} : { sinceMs }),
    ...(untilMs === undefined ? {} : { untilMs }),
  }
}

/** In order of number; of a log with two histories also the packs that prove it. */
function* packsOf(
  { packs, verifier }: DeviceBase,
  home: Uint8Array,
  device: Uint8Array,
  { from, to }: { readonly from: number; readonly to: number },
): Generator<Uint8Array, void, undefined> {
  const proofs = packs
    .forks(device)
    .flatMap(({ kept, other }) => (kept === undefined ? [other] : [kept, other]))
    .map((bytes) => openPack(bytes, { home, verifier }, device))
    .filter(({ seq }) => seq >= from && seq <= to)
  const others = Map.groupBy(unique(proofs), ({ seq }) => seq)
  const apart = (seq: number, kept?: Uint8Array): Uint8Array[] => {
    const found = (others.get(seq) ?? []).map(({ bytes }) => bytes)
    others.delete(seq)
    return found.filter((bytes) => kept === undefined || !Buffer.from(bytes).equals(kept))
  }
  let next = from
  while (next <= to) {
    const page = packs.read(device, next, PAGE).filter(({ seq }) => seq <= to)
    if (page.length === 0) break
    for (const { seq, bytes } of page) {
      for (const missing of [...others.keys()]
        .filter((one) => one < seq)
        .toSorted((a, b) => a - b)) {
        yield* apart(missing)
      }
      yield bytes
      yield* apart(seq, bytes)
    }
    next = (page.at(-1)?.seq ?? to) + 1
  }
}

function unique(packs: readonly Pack[]): Pack[] {
  return [...new Map(packs.map((pack) => [toHex(pack.hash), pack])).values()]
}
