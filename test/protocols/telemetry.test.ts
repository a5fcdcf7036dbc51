import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import { IdentityError, peerIdOf, seal } from '../../protocols/identity/index.ts'
import {
  baseName,
  BOUNDS,
  ExtractFrame,
  Follow,
  isPackFault,
  NO_PREV,
  openPack,
  PackFrame,
  PackPayload,
  sealPack,
  TelemetryError,
  unitKind,
  type Reading,
} from '../../protocols/telemetry/index.ts'
import { encodeCbor, fromHex, toHex, WireError } from '../../protocols/wire/index.ts'
import {
  CONTEXT,
  deviceOf,
  HOME,
  manyReadings,
  packOf,
  reading,
  START_MS,
} from '../helpers/telemetry.ts'
import { assertBothWays, byName, readVectors } from '../helpers/vectors.ts'

const device = deviceOf('pack')
const name = baseName(peerIdOf(device.key))

/** A pack as a device would sign it that does not keep to the rules. */
function signed(changes: ReadonlyMap<number, unknown>, home = HOME, signer = device): Uint8Array {
  const payload = new Map<number, unknown>([
    [1, HOME],
    [2, new Uint8Array(16)],
    [3, 1],
    [4, NO_PREV],
    [5, 0],
    [6, 'synced'],
    [8, 60_000],
    [9, START_MS - 60_000],
    [
      7,
      [
        new Map<number, unknown>([
          [0, 'load'],
          [2, 1],
          [-2, name],
          [-3, 1_800_000_000],
        ]),
      ],
    ],
    ...changes,
  ])
  return seal(encodeCbor(payload), { kind: 'telemetry-pack', home }, signer).bytes
}

function records(...list: readonly (readonly [number, unknown])[][]): ReadonlyMap<number, unknown> {
  const base: [number, unknown][] = [
    [-2, name],
    [-3, 1_800_000_000],
  ]
  return new Map([[7, list.map((record, i) => new Map(i === 0 ? [...record, ...base] : record))]])
}

describe('a telemetry pack', () => {
  it('gives back what was signed, for any readings', () => {
    const readings = fc.array(
      fc.record(
        {
          sensor: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9\-:./_]{0,63}$/),
          unit: fc.constantFrom('Cel', 'B', '/', '%RH', 'kWh'),
          value: fc.oneof(
            fc.double({ noNaN: true, noDefaultInfinity: true }).map((v) => v + 0),
            fc.boolean(),
            fc.string({ unit: 'grapheme', maxLength: 12 }).filter((v) => v.isWellFormed()),
          ),
          atMs: fc.integer({ min: -(2 ** 50), max: 2 ** 50 }),
        },
        { requiredKeys: ['sensor', 'value', 'atMs'] },
      ),
      { minLength: 1, maxLength: 40 },
    )
    fc.assert(
      fc.property(readings, (list) => {
        const pack = packOf(device, { readings: list })
        const opened = openPack(pack.bytes, CONTEXT, device.key)
        assert.deepEqual(opened, { ...pack, readings: opened.readings })
        assert.deepEqual(
          opened.readings.map((one) => ({ ...one })),
          list.map((one) => ({ ...one })),
        )
      }),
    )
  })

  it('holds 512 ordinary readings, and not one more', () => {
    const pack = packOf(device, { readings: manyReadings(BOUNDS.maxReadings) })
    assert.ok(pack.bytes.length < BOUNDS.maxPackBytes)
    assert.equal(openPack(pack.bytes, CONTEXT).readings.length, BOUNDS.maxReadings)
    assert.throws(
      () => packOf(device, { readings: manyReadings(BOUNDS.maxReadings + 1) }),
      WireError,
    )
    assert.throws(() => packOf(device, { readings: [] }), WireError)
    const one = new Map<number, unknown>([
      [0, 'load'],
      [2, 1],
    ])
    const many = Array.from({ length: BOUNDS.maxReadings + 1 }, (_, i) =>
      i === 0 ? [...one, [-2, name] as const] : [...one],
    )
    assert.throws(() => openPack(signed(records(...many)), CONTEXT), { code: 'WIRE_MALFORMED' })
  })

  it('refuses readings that no other device could read', () => {
    const wrong: Partial<Reading>[] = [
      { sensor: '' },
      { sensor: 'a b' },
      { sensor: '.load' },
      { sensor: 'x'.repeat(65) },
      { unit: 'degrees' },
      { value: Number.NaN },
      { value: Infinity },
      { value: 'x'.repeat(257) },
      { value: '\uD800' },
      { atMs: Number.NaN },
      { atMs: 9e15 },
      { atMs: 0.5 },
    ]
    for (const changes of wrong) {
      const act = (): unknown => packOf(device, { readings: [reading(changes)] })
      assert.throws(
        act,
        (error: Error) => error instanceof TelemetryError || error instanceof WireError,
        JSON.stringify(changes),
      )
    }
  })

  it('refuses another home, another signer, and another device than the one claimed', () => {
    const other = deviceOf('other')
    const codes: [Uint8Array, string, Uint8Array?][] = [
      [packOf(device, { home: new Uint8Array(32) }).bytes, 'IDENTITY_BAD_SIGNATURE'],
      [signed(new Map([[1, new Uint8Array(32)]])), 'TELEMETRY_WRONG_HOME'],
      [packOf(device).bytes, 'TELEMETRY_WRONG_DEVICE', other.key],
      [signed(new Map(), HOME, other), 'TELEMETRY_WRONG_DEVICE'],
      [signed(new Map([[4, HOME]])), 'TELEMETRY_BAD_PACK'],
      [signed(new Map([[3, 2]])), 'TELEMETRY_BAD_PACK'],
    ]
    for (const [bytes, code, claimed] of codes) {
      assert.throws(() => openPack(bytes, CONTEXT, claimed), { code })
    }
    assert.equal(openPack(signed(new Map()), CONTEXT, device.key).readings.length, 1)
  })

  it('refuses signed records that are not of the profile', () => {
    const wrong: (readonly [number, unknown])[][] = [
      [[0, 'load']],
      [
        [0, 'load'],
        [2, 1],
        [4, true],
      ],
      [[2, 1]],
      [
        [0, 'load'],
        [2, 1],
        [5, 3],
      ],
      [
        [0, 'load'],
        [2, '1'],
      ],
      [
        [0, 'load'],
        [1, 'a b'],
        [2, 1],
      ],
      [
        [0, 'load'],
        [2, 1],
        [6, 'now'],
      ],
      [
        [0, 'load'],
        [2, null],
      ],
      [
        [0, 'load'],
        [2, 1],
        [-1, 11],
      ],
    ]
    for (const record of wrong) {
      assert.throws(() => openPack(signed(records(record)), CONTEXT), { code: 'WIRE_MALFORMED' })
    }
    const second: (readonly [number, unknown])[] = [
      [0, 'load'],
      [2, 1],
      [-2, name],
    ]
    const fine: (readonly [number, unknown])[] = [
      [0, 'load'],
      [2, 1],
    ]
    assert.throws(() => openPack(signed(records(fine, second)), CONTEXT), {
      code: 'WIRE_MALFORMED',
    })
  })

  it('reads time offsets, base units and units of a newer registry', () => {
    const pack = openPack(
      signed(
        records(
          [
            [0, 'a'],
            [2, 1],
            [-4, 'newUnit'],
          ],
          [
            [0, 'b'],
            [1, 'Cel'],
            [2, 2],
            [6, -0.25],
          ],
        ),
      ),
      CONTEXT,
    )
    assert.deepEqual(pack.readings, [
      { sensor: 'a', unit: 'newUnit', value: 1, atMs: START_MS },
      { sensor: 'b', unit: 'Cel', value: 2, atMs: START_MS - 250 },
    ])
  })

  it('keeps the wildest times within the range of dates', () => {
    for (const time of [2 ** 63, -(2 ** 63), 1e300]) {
      const [one] = openPack(
        signed(
          records([
            [0, 'load'],
            [2, 1],
            [6, time],
          ]),
        ),
        CONTEXT,
      ).readings
      assert.equal(Math.abs(one?.atMs ?? 0), 8_640_000_000_000_000)
    }
  })

  it('refuses hostile bytes with a coded error, fast', () => {
    const nested = (depth: number): Uint8Array =>
      Uint8Array.from([...Array<number>(depth).fill(0x81), 0x00])
    const inside = (payload: Uint8Array): Uint8Array =>
      seal(payload, { kind: 'telemetry-pack', home: HOME }, device).bytes
    const corpus: Uint8Array[] = [
      new Uint8Array(0),
      new Uint8Array(1024 * 1024),
      nested(20_000),
      inside(nested(20_000)),
      inside(Uint8Array.of(0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)),
      inside(encodeCbor(new Map([[7, Array(30_000).fill(0)]]))),
      inside(encodeCbor(new Map([[7, Array(100_000).fill(0)]]))),
      // A map with a key twice, a NaN, a tag, an integer in long form.
      inside(fromHex('a201000100')),
      inside(fromHex('a102f97e00')),
      inside(fromHex('a102c100')),
      inside(fromHex('a1021800')),
    ]
    for (const bytes of corpus) {
      const before = performance.now()
      assert.throws(
        () => openPack(bytes, CONTEXT),
        (error) => error instanceof WireError || isPackFault(error),
      )
      assert.ok(performance.now() - before < 250)
    }
  })

  it('throws nothing but coded errors for damaged packs, and accepts none', () => {
    const { bytes } = packOf(device, { readings: manyReadings(4) })
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
        const damaged = bytes.slice()
        damaged[at] = (damaged[at] ?? 0) ^ by
        assert.throws(
          () => openPack(damaged, CONTEXT),
          (error) => error instanceof WireError || error instanceof IdentityError,
        )
      }),
    )
  })

  it('announces secondary units in the version of its records', () => {
    assert.equal(unitKind('kWh'), 'secondary')
    assert.equal(unitKind('Cel'), 'primary')
    assert.equal(unitKind('parsec'), undefined)
    const plain = toHex(packOf(device, { readings: [reading({ unit: 'Cel' })] }).bytes)
    const energy = toHex(packOf(device, { readings: [reading({ unit: 'kWh' })] }).bytes)
    const version = '20181a'
    assert.ok(energy.includes(version) && !plain.includes(version))
  })
})

const vectors = readVectors<
  {
    readonly name: string
    readonly seed: string
    readonly home: string
    readonly packs: { readonly hex: string; readonly hash: string }[]
  }[]
>('telemetry')
const messages = byName(Follow, PackFrame, PackPayload, ExtractFrame)

describe('the telemetry vectors', () => {
  it('match both ways', () => {
    assert.ok(vectors.messages.length >= 6)
    assertBothWays(vectors, messages)
  })

  it('are refused where they are invalid', () => {
    assert.ok(vectors.invalid.length >= 10)
    for (const { name: title, message, hex, code } of vectors.invalid) {
      const decode = (): unknown =>
        message === 'pack'
          ? openPack(fromHex(hex), CONTEXT)
          : messages[message]?.decode(fromHex(hex))
      assert.throws(decode, { code }, title)
    }
  })

  it('hold whole logs, byte for byte', () => {
    assert.ok(vectors.runs.length > 0)
    for (const { seed, home, packs } of vectors.runs) {
      const signer = deviceOf(seed)
      assert.equal(home, toHex(HOME))
      for (const { hex, hash } of packs) {
        const pack = openPack(fromHex(hex), CONTEXT, signer.key)
        assert.equal(toHex(pack.hash), hash)
        assert.equal(toHex(sealPack(pack, HOME, signer).bytes), hex)
      }
    }
  })
})
