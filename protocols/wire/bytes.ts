/** Small operations on byte arrays that every protocol needs. All return fresh arrays. */

export function lengthOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0)
}

export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(lengthOf(parts))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

/** Equality that stops at the first difference: for public values only. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** Equality that takes the same time for any contents of one length: for tags and secrets. */
export function equalConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  let difference = 0
  for (let i = 0; i < a.length; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0)
  return difference === 0
}

/** Order of bytes as unsigned numbers, shorter first where one is the beginning of the other. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length)
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

const ENCODER = new TextEncoder()

export function utf8(text: string): Uint8Array {
  return ENCODER.encode(text)
}

/** Whether `text` takes more than `max` bytes of UTF-8. */
export function isLonger(text: string, max: number): boolean {
  // A UTF-16 unit is one byte of UTF-8 at the least, and three at the most.
  return text.length > max || (3 * text.length > max && utf8(text).length > max)
}

const DIGITS = new TextEncoder().encode('0123456789abcdef')
const ASCII = new TextDecoder()

/** One piece of text: joined from digits it would take ten times the time and the memory. */
export function toHex(bytes: Uint8Array): string {
  const digits = new Uint8Array(2 * bytes.length)
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] ?? 0
    digits[2 * i] = DIGITS[byte >> 4] ?? 0
    digits[2 * i + 1] = DIGITS[byte & 15] ?? 0
  }
  return ASCII.decode(digits)
}

/** @throws RangeError where `hex` is not an even number of hexadecimal digits. */
export function fromHex(hex: string): Uint8Array {
  if (!/^([0-9a-f]{2})*$/i.test(hex)) throw new RangeError('not hexadecimal')
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
}

/** Unsigned LEB128, as in libp2p frames and CPace's `prepend_len`. `value` up to 2^53 - 1. */
export function encodeVarint(value: number): Uint8Array {
  const out: number[] = []
  let rest = value
  while (rest > 127) {
    out.push((rest % 128) | 0x80)
    rest = Math.floor(rest / 128)
  }
  out.push(rest)
  return Uint8Array.from(out)
}

/** `lv_cat`: each part with its length in front (draft-irtf-cfrg-cpace, "lv_cat"). */
export function lvCat(...parts: readonly Uint8Array[]): Uint8Array {
  return concatBytes(...parts.flatMap((part) => [encodeVarint(part.length), part]))
}
