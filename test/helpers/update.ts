import { sha256 } from '../../protocols/identity/index.ts'
import {
  CODECS,
  type IndexChunk,
  type Patch,
  type ReleaseIndex,
  type UpdateReportContent,
} from '../../protocols/update/index.ts'
import { utf8 } from '../../protocols/wire/index.ts'
import { START_MS } from './telemetry.ts'

export const hashOf = (text: string): Uint8Array => sha256(utf8(text))

export function chunkOf(text: string, changes: Partial<IndexChunk> = {}): IndexChunk {
  const raw = changes.raw ?? 1_000
  return { hash: hashOf(text), raw, stored: raw, codec: CODECS.raw, ...changes }
}

export function sumOf(chunks: readonly IndexChunk[]): number {
  return chunks.reduce((sum, { raw }) => sum + raw, 0)
}

/** A small release that holds together; `rawBytes` fits the chunks unless it is given. */
export function releaseOf(changes: Partial<ReleaseIndex> = {}): ReleaseIndex {
  const chunks = changes.chunks ?? [chunkOf('one'), chunkOf('two', { stored: 500, codec: 1 })]
  return {
    v: 1,
    name: 'lamp',
    version: '1.2.0',
    build: 7,
    for: { hardware: [], arch: [], groups: [], requires: [] },
    installer: 'tree',
    args: {},
    form: 'tree',
    rawBytes: sumOf(chunks),
    rawHash: hashOf('release'),
    chunks,
    ...changes,
  }
}

export function patchOf(from: string, changes: Partial<Patch> = {}): Patch {
  const chunks = changes.chunks ?? [chunkOf(`patch from ${from}`, { raw: 300 })]
  return {
    from: hashOf(from),
    fromBytes: 2_000,
    rawBytes: sumOf(chunks),
    rawHash: hashOf(`patch from ${from}, all of it`),
    chunks,
    ...changes,
  }
}

export function reportContent(changes: Partial<UpdateReportContent> = {}): UpdateReportContent {
  return {
    seq: 1,
    at: START_MS,
    clock: 'synced',
    channel: 'home',
    name: 'lamp',
    version: '1.2.0',
    build: 7,
    index: hashOf('index'),
    phase: 'fetching',
    from: [],
    ...changes,
  }
}
