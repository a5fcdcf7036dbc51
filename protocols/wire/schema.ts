/**
 * Message definitions. One declaration gives the TypeScript type, the encoder, the strict decoder
 * and every bound. Fields have integer keys on the wire and names in code. Unknown keys, missing
 * keys, values out of bounds and any encoding but the deterministic one are refused.
 */
import { isLonger, lengthOf } from './bytes.ts'
import { decodeCbor } from './cbor-decode.ts'
import { encodeCbor, encodeCborPieces } from './cbor-encode.ts'
import { WireError } from './errors.ts'

/** How one kind of value looks in code and on the wire. */
export interface Type<T> {
  /** The value as the CBOR encoder takes it. @throws TypeError, RangeError on a value out of bounds */
  toWire(value: T): unknown
  /** The value that the CBOR decoder gave, checked. @throws TypeError, RangeError */
  fromWire(value: unknown): T
}

export interface Field<K extends number, T, Optional extends boolean> {
  readonly key: K
  readonly type: Type<T>
  readonly optional: Optional
}

/** `Type` has methods, whose parameters compare both ways: any field is one of these. */
type AnyField = Field<number, unknown, boolean>
export type Shape = Readonly<Record<string, AnyField>>
type TypeOf<F> = F extends Field<number, infer T, boolean> ? T : never
type Names<S extends Shape, Optional extends boolean> = {
  [N in keyof S]: S[N]['optional'] extends Optional ? N : never
}[keyof S]

/** What a shape looks like in code. */
export type Decoded<S extends Shape> = {
  readonly [N in Names<S, false>]: TypeOf<S[N]>
} & { readonly [N in Names<S, true>]?: TypeOf<S[N]> }

/** The object type that a message or a record type decodes to. */
export type Infer<M> = M extends Message<infer T> ? T : M extends Type<infer U> ? U : never

export interface Message<T> {
  readonly name: string
  /** Longest encoding accepted and written, in bytes. */
  readonly maxBytes: number
  /** @throws WireError WIRE_MALFORMED, WIRE_FRAME_TOO_LARGE on a value that the schema forbids */
  readonly encode: (value: T) => Uint8Array
  /** The same in pieces: long byte strings of `value` are not copied. Throws what `encode` does. */
  readonly encodePieces: (value: T) => readonly Uint8Array[]
  /** @throws WireError WIRE_MALFORMED, WIRE_FRAME_TOO_LARGE */
  readonly decode: (bytes: Uint8Array) => T
}

export interface MessageLimits {
  readonly maxBytes: number
  /** Default 8. */
  readonly maxDepth?: number
  /** Default 1024. */
  readonly maxItems?: number
}

export function field<K extends number, T>(key: K, type: Type<T>): Field<K, T, false> {
  return { key, type, optional: false }
}

export function optional<K extends number, T>(key: K, type: Type<T>): Field<K, T, true> {
  return { key, type, optional: true }
}

/** A type whose values look the same in code and on the wire. */
function plain<T>(check: (value: unknown) => T): Type<T> {
  return { toWire: check, fromWire: check }
}

/** Byte string of exactly `length`, or of `min`..`max` bytes. */
export function bytes(size: { length: number } | { min?: number; max: number }): Type<Uint8Array> {
  const [min, max] = 'length' in size ? [size.length, size.length] : [size.min ?? 0, size.max]
  return plain((value) => {
    if (!(value instanceof Uint8Array)) throw new TypeError('not a byte string')
    if (value.length < min || value.length > max) throw new RangeError(`not ${min}..${max} bytes`)
    return value
  })
}

/** UTF-8 text of at most `max` bytes, without lone surrogates and without a byte order mark. */
export function text(max: number): Type<string> {
  return plain((value) => {
    if (typeof value !== 'string' || !value.isWellFormed()) throw new TypeError('not text')
    // A decoder drops it, and the text would not be the same again.
    if (value.startsWith('\uFEFF')) throw new TypeError('byte order mark')
    if (isLonger(value, max)) throw new RangeError(`over ${max} bytes`)
    return value
  })
}

/** One of a few fixed texts. */
export function oneOf<const T extends string>(...values: readonly T[]): Type<T> {
  return plain((value) => {
    const found = values.find((known) => known === value)
    if (found === undefined) throw new RangeError(`not one of ${values.join(', ')}`)
    return found
  })
}

/** Integer in `min`..`max`, both included; never beyond 2^53 - 1. */
export function uint(max: number = Number.MAX_SAFE_INTEGER, min = 0): Type<number> {
  return plain((value) => {
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || Object.is(value, -0)) {
      throw new TypeError('not an integer')
    }
    if (value < min || value > max) throw new RangeError(`not in ${min}..${max}`)
    return value
  })
}

/** Any finite number. */
export const finite: Type<number> = plain((value) => {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new TypeError('not a number')
  return value
})

export const bool: Type<boolean> = plain((value) => {
  if (typeof value !== 'boolean') throw new TypeError('not true or false')
  return value
})

/** Array of `min`..`max` items of one type. */
export function list<T>(item: Type<T>, size: { min?: number; max: number }): Type<readonly T[]> {
  const check = (value: unknown): readonly unknown[] => {
    if (!Array.isArray(value)) throw new TypeError('not an array')
    if (value.length < (size.min ?? 0) || value.length > size.max) {
      throw new RangeError(`not ${size.min ?? 0}..${size.max} items`)
    }
    return value
  }
  return {
    toWire: (value) => check(value).map((one) => item.toWire(one as T)),
    fromWire: (value) => check(value).map((one) => item.fromWire(one)),
  }
}

/** A map with integer keys inside a message. */
export function record<S extends Shape>(shape: S): Type<Decoded<S>> {
  const fields = Object.entries(shape).map(([name, spec]) => ({ ...spec, name }))
  const known = new Set<unknown>(fields.map(({ key }) => key))
  if (known.size !== fields.length) throw new TypeError('a key is used twice')

  return {
    toWire(value) {
      const source = value as Readonly<Record<string, unknown>>
      const map = new Map<number, unknown>()
      for (const { key, name, optional: may, type } of fields) {
        const item = source[name]
        if (item === undefined && may) continue
        map.set(
          key,
          inField(name, () => type.toWire(item)),
        )
      }
      return map
    },
    fromWire(map) {
      if (!(map instanceof Map)) throw new TypeError('not a map')
      for (const key of map.keys()) {
        if (!known.has(key)) throw new TypeError(`unknown key ${String(key).slice(0, 32)}`)
      }
      const out: Record<string, unknown> = {}
      for (const { key, name, optional: may, type } of fields) {
        if (map.has(key)) out[name] = inField(name, () => type.fromWire(map.get(key)))
        else if (!may) throw new TypeError(`missing key ${key} (${name})`)
      }
      return out as Decoded<S>
    },
  }
}

function inField<T>(name: string, run: () => T): T {
  try {
    return run()
  } catch (cause) {
    throw new TypeError(`${name}: ${(cause as Error).message}`, { cause })
  }
}

/** A whole frame or document: a map with integer keys, bounded as `limits` say. */
export function message<S extends Shape>(
  name: string,
  shape: S,
  limits: MessageLimits,
): Message<Decoded<S>> {
  const type = record(shape)
  return messageOf(name, type, limits)
}

/** A whole frame or document of any type. */
export function messageOf<T>(name: string, type: Type<T>, limits: MessageLimits): Message<T> {
  const bounds = { maxDepth: 8, maxItems: 1024, ...limits }
  function requireLength(length: number): void {
    if (length > limits.maxBytes) {
      throw new WireError('WIRE_FRAME_TOO_LARGE', `${name}: ${length} bytes`)
    }
  }
  return {
    name,
    maxBytes: limits.maxBytes,
    encode(value) {
      const encoded = malformed(name, () => encodeCbor(type.toWire(value)))
      requireLength(encoded.length)
      return encoded
    },
    encodePieces(value) {
      const pieces = malformed(name, () => encodeCborPieces(type.toWire(value)))
      requireLength(lengthOf(pieces))
      return pieces
    },
    decode(encoded) {
      return malformed(name, () => type.fromWire(decodeCbor(encoded, bounds)))
    },
  }
}

function malformed<T>(name: string, run: () => T): T {
  try {
    return run()
  } catch (cause) {
    if (cause instanceof WireError) throw cause
    throw new WireError('WIRE_MALFORMED', `${name}: ${(cause as Error).message}`, { cause })
  }
}
