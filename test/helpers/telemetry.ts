import {
  createVerifier,
  sha256,
  signerFromSeed,
  type Signer,
} from '../../protocols/identity/index.ts'
import { NO_PREV, sealPack, type Pack, type Reading } from '../../protocols/telemetry/index.ts'
import { utf8 } from '../../protocols/wire/index.ts'

export const HOME = sha256(utf8('test home'))
export const START_MS = 1_800_000_000_000
export const CONTEXT = { home: HOME, verifier: createVerifier() }

export function deviceOf(name: string): Signer {
  return signerFromSeed(sha256(utf8(name)))
}

export function reading(changes: Partial<Reading> = {}): Reading {
  return { sensor: 'load', unit: 'count', value: 1, atMs: START_MS, ...changes }
}

export interface PackChanges {
  readonly seq?: number
  readonly prev?: Uint8Array
  readonly readings?: readonly Reading[]
  readonly clock?: Pack['clock']
  readonly home?: Uint8Array
  readonly bootId?: Uint8Array
  readonly mono?: number
  readonly born?: number | undefined
}

export function packOf(signer: Signer, changes: PackChanges = {}): Pack {
  const { home = HOME, seq = 1, prev = NO_PREV, clock = 'synced', ...rest } = changes
  const readings = rest.readings ?? [reading({ value: seq, atMs: START_MS + seq * 1000 })]
  const { bootId = new Uint8Array(16).fill(7), mono = 60_000 + seq * 1000 } = rest
  const born = rest.born ?? (clock === 'unset' ? undefined : START_MS - 60_000)
  const content = { bootId, seq, prev, epoch: 0, clock, mono, readings }
  if (born !== undefined) return sealPack({ ...content, born }, home, signer)
  return sealPack(content, home, signer)
}

/** The first `count` packs of a log, linked. */
export function chainOf(signer: Signer, count: number): Pack[] {
  const packs: Pack[] = []
  for (let seq = 1; seq <= count; seq++) {
    packs.push(packOf(signer, { seq, prev: packs.at(-1)?.hash ?? NO_PREV }))
  }
  return packs
}

/** `count` readings of a few sensors, a second apart. */
export function manyReadings(count: number): Reading[] {
  return Array.from({ length: count }, (_, i) => ({
    sensor: `room-${i % 8}.temperature`,
    unit: 'Cel',
    value: 20 + (i % 100) / 10,
    atMs: START_MS + Math.floor(i / 8) * 1000,
  }))
}
