/**
 * The recovery kit: a 128-bit secret for paper. Written as eight groups of four letters and digits
 * (Crockford's base 32: no I, L, O or U), the last 32 bits a checksum, so that what is typed back is
 * either right or refused. SPEC.md "Recovery kit".
 */
import { hkdf } from '@noble/hashes/hkdf.js'
import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js'

import type { Random } from '../env.ts'
import { SEED_BYTES, sha256, signerFromSeed, type Signer } from '../identity/index.ts'
import { concatBytes, equalConstantTime, utf8 } from '../wire/index.ts'
import { MembersError } from './protocol.ts'

export const KIT_SECRET_BYTES = 16
export const KIT_GROUPS = 8
const GROUP_LENGTH = 4
const CHECK_BYTES = 4
const KIT_LENGTH = KIT_GROUPS * GROUP_LENGTH
const QR_PREFIX = 'KITH-RECOVERY:'

const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
/** Letters that are read as the digits they look like. */
const ALIKE: Readonly<Record<string, string>> = { O: '0', I: '1', L: '1' }

export interface RecoveryKit {
  /** What to write down: eight groups of four. Secret. */
  readonly groups: readonly string[]
  /** The groups with hyphens between. Secret. */
  readonly text: string
  /** The same for a QR code (alphanumeric mode). Secret. */
  readonly qrText: string
  /** Signs as the home's recovery key. */
  readonly signer: Signer
}

export function createRecoveryKit(random: Random): RecoveryKit {
  return kitOf(random.bytes(KIT_SECRET_BYTES))
}

/**
 * The kit that was written down. Case, spaces, hyphens and O/0, I/L/1 do not matter; the text of
 * the QR code is taken too.
 *
 * @throws MembersError MEMBERS_KIT_MISTYPED, with the wrong `group` (1..8) where it is known: one
 * wrong character or two swapped neighbours are found, more are only noticed
 */
export function parseRecoveryKit(text: string): RecoveryKit {
  const digits = readDigits(text)
  const secret = secretIn(digits)
  if (secret !== undefined) return kitOf(secret)
  const group = findTypo(digits)
  throw mistyped(group === undefined ? 'the checksum does not match' : 'does not fit', group)
}

/** Whether `typed` is group `number` (1..8) of the kit, for asking a part back. */
export function isGroup(kit: RecoveryKit, number: number, typed: string): boolean {
  const expected = kit.groups[number - 1]
  if (expected === undefined) throw new RangeError('groups are numbered 1..8')
  return equalConstantTime(utf8(normalise(typed)), utf8(expected))
}

function kitOf(secret: Uint8Array): RecoveryKit {
  const all = toDigits(concatBytes(secret, checkOf(secret)))
  const groups = Array.from({ length: KIT_GROUPS }, (_, i) =>
    all.slice(i * GROUP_LENGTH, (i + 1) * GROUP_LENGTH),
  )
  const seed = hkdf(
    nobleSha256,
    secret,
    undefined,
    utf8('kith-recovery-kit-v1 ed25519'),
    SEED_BYTES,
  )
  return { groups, text: groups.join('-'), qrText: QR_PREFIX + all, signer: signerFromSeed(seed) }
}

function checkOf(secret: Uint8Array): Uint8Array {
  return sha256(utf8('kith-recovery-kit-v1 check'), secret).slice(0, CHECK_BYTES)
}

function normalise(text: string): string {
  return text
    .toUpperCase()
    .replaceAll(/[\s-]/g, '')
    .replaceAll(/[OIL]/g, (letter) => ALIKE[letter] ?? letter)
}

/** 32 digits. @throws MembersError MEMBERS_KIT_MISTYPED */
function readDigits(text: string): string {
  const trimmed = text.trim().toUpperCase()
  const isQr = trimmed.startsWith(QR_PREFIX)
  const written = isQr ? trimmed.slice(QR_PREFIX.length) : trimmed
  // Where the groups are apart, a digit too many or too few can be put down to one of them.
  const apart = written.split(/[\s-]+/).filter((part) => part !== '')
  if (apart.length === KIT_GROUPS) {
    const odd = apart.findIndex((part) => part.length !== GROUP_LENGTH)
    if (odd !== -1) throw mistyped('four letters or digits each', odd + 1)
  }
  const digits = normalise(written)
  const strange = Array.from(digits).findIndex((digit) => !DIGITS.includes(digit))
  if (strange !== -1) throw mistyped('a letter that no kit has', groupAt(strange))
  if (digits.length !== KIT_LENGTH) throw mistyped(`${digits.length} of ${KIT_LENGTH} characters`)
  return digits
}

function mistyped(detail: string, group?: number): MembersError {
  if (group === undefined || group > KIT_GROUPS) {
    return new MembersError('MEMBERS_KIT_MISTYPED', detail)
  }
  return new MembersError('MEMBERS_KIT_MISTYPED', `group ${group}: ${detail}`, { group })
}

function groupAt(position: number): number {
  return Math.floor(position / GROUP_LENGTH) + 1
}

/** The secret, if the checksum fits. */
function secretIn(digits: string): Uint8Array | undefined {
  const bytes = fromDigits(digits)
  const secret = bytes.slice(0, KIT_SECRET_BYTES)
  return equalConstantTime(checkOf(secret), bytes.slice(KIT_SECRET_BYTES)) ? secret : undefined
}

/** The group with the one change that makes the checksum fit: 1,023 tries against 32 bits. */
function findTypo(digits: string): number | undefined {
  for (let at = 0; at < digits.length; at++) {
    const [before, after] = [digits.slice(0, at), digits.slice(at + 1)]
    const swapped = before + after.slice(0, 1) + digits.slice(at, at + 1) + after.slice(1)
    const substituted = Array.from(DIGITS, (digit) => before + digit + after)
    if ([swapped, ...substituted].some((one) => secretIn(one) !== undefined)) return groupAt(at)
  }
  return undefined
}

function toDigits(bytes: Uint8Array): string {
  let out = ''
  let bits = 0
  let held = 0
  for (const byte of bytes) {
    held = (held << 8) | byte
    bits += 8
    for (; bits >= 5; bits -= 5) out += DIGITS[(held >> (bits - 5)) & 31] ?? ''
    held &= 31
  }
  return out
}

function fromDigits(digits: string): Uint8Array {
  const out: number[] = []
  let bits = 0
  let held = 0
  for (const digit of digits) {
    held = (held << 5) | DIGITS.indexOf(digit)
    bits += 5
    if (bits < 8) continue
    bits -= 8
    out.push((held >> bits) & 255)
    held &= 255
  }
  return Uint8Array.from(out)
}
