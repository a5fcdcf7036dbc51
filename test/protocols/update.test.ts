import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import {
  bitsOfRuns,
  BOUNDS,
  countBits,
  Frame,
  hasBit,
  Index,
  isNewer,
  openIndex,
  openUpdateReport,
  runsOfBits,
  sealUpdateReport,
  setBit,
  UPDATE,
  UPDATE_ERRORS,
  updateCode,
  updatePolicyIn,
  UpdateError,
  UpdateReportPayload,
  type UpdateFrame,
} from '../../protocols/update/index.ts'
import { fromHex, toHex } from '../../protocols/wire/index.ts'
import { channelPair } from '../helpers/channels.ts'
import { CONTEXT, deviceOf, HOME } from '../helpers/telemetry.ts'
import { hashOf, reportContent } from '../helpers/update.ts'
import { assertBothWays, byName, readVectors } from '../helpers/vectors.ts'

const vectors = readVectors<{
  indexes: { name: string; hex: string; id: string; chunks: number }[]
  have: { name: string; runs: number[]; count: number; bits: string }[]
  badHave: { name: string; runs: number[]; count: number }[]
  reports: { seed: string; hex: string }[]
}>('update')
const messages = byName(Frame, Index, UpdateReportPayload)
const readers: Readonly<Record<string, (bytes: Uint8Array) => unknown>> = {
  index: openIndex,
  report: (bytes) => openUpdateReport(bytes, CONTEXT),
  policy: updatePolicyIn,
}

const isCoded = (error: unknown): boolean =>
  typeof (error as { code?: unknown }).code === 'string' &&
  /^(?:UPDATE|WIRE|IDENTITY)_/.test((error as { code: string }).code)

describe('the update vectors', () => {
  it('match both ways', () => {
    assert.ok(vectors.messages.length >= 20)
    assertBothWays(vectors, messages)
  })

  it('have every frame', () => {
    const types = vectors.messages.map(({ value }) => (value as { type?: string }).type)
    const numbers = vectors.messages
      .filter(({ message }) => message === Frame.name)
      .map(({ hex }) => Number.parseInt(hex.slice(4, 6), 16))
    assert.deepEqual(
      [...new Set(numbers)].toSorted((a, b) => a - b),
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
    )
    assert.equal(new Set(types.filter((type) => type !== undefined)).size, 12)
  })

  it('are refused where they are invalid', () => {
    assert.ok(vectors.invalid.length >= 30)
    for (const { name, message, hex, code } of vectors.invalid) {
      const type = messages[message]
      const read = type === undefined ? readers[message] : type.decode
      assert.ok(read !== undefined, message)
      assert.throws(() => read(fromHex(hex)), { code }, name)
    }
  })

  it('name indexes by their bytes', () => {
    for (const { name, hex, id, chunks } of vectors.runs.indexes) {
      const opened = openIndex(fromHex(hex))
      assert.equal(toHex(opened.id), id, name)
      assert.equal(opened.chunks.length, chunks, name)
    }
  })

  it('say what a device has', () => {
    for (const { name, runs, count, bits } of vectors.runs.have) {
      assert.equal(toHex(bitsOfRuns(runs, count)), bits, name)
      assert.deepEqual(runsOfBits(fromHex(bits), count), runs, name)
    }
    for (const { name, runs, count } of vectors.runs.badHave) {
      assert.throws(() => bitsOfRuns(runs, count), { code: 'UPDATE_BAD_NUMBER' }, name)
    }
  })

  it('hold reports, byte for byte', () => {
    for (const { seed, hex } of vectors.runs.reports) {
      const { device, bytes, ...content } = openUpdateReport(fromHex(hex), CONTEXT)
      assert.equal(toHex(device), toHex(deviceOf(seed).key))
      assert.equal(toHex(sealUpdateReport(content, HOME, deviceOf(seed)).bytes), toHex(bytes))
    }
  })
})

describe('a frame', () => {
  const id = fc.uint8Array({ minLength: 32, maxLength: 32 })
  const number = fc.nat(BOUNDS.maxChunks - 1)
  const chunks = fc.array(number, { minLength: 1, maxLength: 200 })
  const numbered = fc
    .constantFrom('have-more' as const, 'want' as const, 'cancel' as const, 'lost' as const)
    .chain((type) => fc.tuple(id, chunks).map(([index, all]) => ({ type, index, chunks: all })))
  const chunk = fc
    .tuple(id, number, fc.constantFrom(0 as const, 1 as const), fc.uint8Array({ minLength: 1 }))
    .map(([index, n, codec, bytes]) => ({ type: 'chunk' as const, index, n, codec, bytes }))
  const have = fc
    .tuple(id, fc.array(fc.nat(BOUNDS.maxChunks), { maxLength: 50 }))
    .map(([index, runs]) => ({ type: 'have' as const, index, runs }))
  const any: fc.Arbitrary<UpdateFrame> = fc.oneof(numbered, chunk, have)

  it('comes back as it was, and is no other frame', () => {
    fc.assert(
      fc.property(any, (frame) => {
        assert.deepEqual(Frame.decode(Frame.encode(frame)), frame)
      }),
    )
  })

  it('throws nothing but coded errors for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        assert.throws(() => Frame.decode(bytes), isCoded)
      }),
    )
    fc.assert(
      fc.property(any, fc.nat(), fc.integer({ min: 1, max: 255 }), (frame, at, by) => {
        const bytes = Frame.encode(frame)
        bytes[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ by
        try {
          assert.equal(toHex(Frame.encode(Frame.decode(bytes))), toHex(bytes))
        } catch (error) {
          assert.ok(isCoded(error), String(error))
        }
      }),
    )
  })

  it('holds the longest chunk, the longest part and the longest have, and no longer ones', () => {
    const index = hashOf('index')
    const longest = BOUNDS.maxRawBytes + BOUNDS.maxStoredExtra
    const chunkOf = (length: number): UpdateFrame => ({
      type: 'chunk',
      index,
      n: BOUNDS.maxChunks - 1,
      codec: 1,
      bytes: new Uint8Array(length),
    })
    const runs = Array.from({ length: BOUNDS.maxChunks }, () => 1)
    const names = { channel: 'c'.repeat(32), file: `${'n'.repeat(127)}/${'f'.repeat(128)}` }
    const frames: readonly UpdateFrame[] = [
      chunkOf(longest),
      { type: 'have', index, runs },
      {
        type: 'meta',
        ...names,
        part: 15,
        of: 16,
        bytes: new Uint8Array(BOUNDS.maxPartBytes),
      },
    ]
    for (const frame of frames) assert.ok(Frame.encode(frame).length <= UPDATE.maxFrameBytes)
    for (const frame of frames) assert.deepEqual(Frame.decode(Frame.encode(frame)), frame)
    assert.throws(() => Frame.encode(chunkOf(longest + 1)), { code: 'WIRE_MALFORMED' })
    assert.throws(() => Frame.encode({ type: 'have', index, runs: [...runs, 1] }), {
      code: 'WIRE_MALFORMED',
    })
  })

  it('that is too long ends the stream before it is read', async () => {
    const [near, far] = await channelPair(UPDATE)
    const length = UPDATE.maxFrameBytes + 1
    near.stream.send(
      Uint8Array.of(0x80 | (length & 127), 0x80 | ((length >> 7) & 127), length >> 14),
    )
    await assert.rejects(far.channel.receive(Frame), { code: 'WIRE_FRAME_TOO_LARGE' })
  })
})

describe('what a device has', () => {
  it('comes back as it was, said in one way', () => {
    const set = fc
      .integer({ min: 1, max: 3_000 })
      .chain((count) => fc.tuple(fc.constant(count), fc.uniqueArray(fc.nat(count - 1))))
    fc.assert(
      fc.property(set, ([count, numbers]) => {
        const bits = new Uint8Array(Math.ceil(count / 8))
        for (const n of numbers) setBit(bits, n)
        const runs = runsOfBits(bits, count)
        const again = bitsOfRuns(runs, count)
        assert.equal(toHex(again), toHex(bits))
        assert.equal(countBits(again, count), numbers.length)
        for (const n of numbers) assert.ok(hasBit(again, n))
      }),
    )
  })

  it('is no more than a release has, for any runs', () => {
    const runs = fc.array(fc.nat(BOUNDS.maxChunks), { maxLength: 20 })
    fc.assert(
      fc.property(runs, fc.integer({ min: 1, max: BOUNDS.maxChunks }), (said, count) => {
        try {
          const bits = bitsOfRuns(said, count)
          assert.equal(bits.length, Math.ceil(count / 8))
          assert.deepEqual(runsOfBits(bits, count), said)
        } catch (error) {
          assert.equal((error as UpdateError).code, 'UPDATE_BAD_NUMBER')
        }
      }),
    )
  })
})

describe('a report about a release', () => {
  const device = deviceOf('reports')
  const full = reportContent({
    phase: 'rolled-back',
    ring: 1,
    percent: 100,
    from: Array.from({ length: BOUNDS.maxSources }, (_, i) => ({
      peer: hashOf(`${i}`),
      bytes: BOUNDS.maxReleaseBytes,
    })),
    channel: 'c'.repeat(32),
    name: 'n'.repeat(64),
    version: 'v'.repeat(32),
    seq: Number.MAX_SAFE_INTEGER,
    code: 'C'.repeat(64),
    runs: { version: 'v'.repeat(32), build: 2 ** 32 - 1 },
  })

  it('comes back as it was, from whoever passes it on, and fits its bound at its longest', () => {
    const report = sealUpdateReport(full, HOME, device)
    assert.ok(report.bytes.length <= BOUNDS.maxReportBytes, `${report.bytes.length}`)
    assert.deepEqual(openUpdateReport(report.bytes, CONTEXT), report)
  })

  it('is of one home, and of no other kind', () => {
    const { bytes } = sealUpdateReport(reportContent(), HOME, device)
    const home = hashOf('another home')
    assert.throws(() => openUpdateReport(bytes, { ...CONTEXT, home }), {
      code: 'IDENTITY_BAD_SIGNATURE',
    })
  })

  it('names no source twice', () => {
    const twice = [1, 2].map((bytes) => ({ peer: hashOf('peer'), bytes }))
    assert.throws(() => sealUpdateReport(reportContent({ from: twice }), HOME, device), {
      code: 'UPDATE_BAD_REPORT',
    })
  })

  it('with any byte changed is refused', () => {
    const { bytes } = sealUpdateReport(full, HOME, device)
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
        const damaged = bytes.slice()
        damaged[at] = (damaged[at] ?? 0) ^ by
        assert.throws(() => openUpdateReport(damaged, CONTEXT), isCoded)
      }),
    )
  })

  it('takes the place of an older one alone', () => {
    assert.equal(isNewer({ seq: 1 }, undefined), true)
    assert.equal(isNewer({ seq: 2 }, { seq: 1 }), true)
    assert.equal(isNewer({ seq: 2 }, { seq: 2 }), false)
    assert.equal(isNewer({ seq: 1 }, { seq: 2 }), false)
  })
})

describe('the errors of updates', () => {
  it('have a number each, which leads back to the code', () => {
    const codes = Object.keys(UPDATE_ERRORS) as (keyof typeof UPDATE_ERRORS)[]
    for (const code of codes) {
      const error = new UpdateError(code, 'why')
      assert.equal(updateCode(error.status), code)
      assert.match(error.message, /: why$/)
    }
    assert.equal(updateCode(255), undefined)
  })
})
