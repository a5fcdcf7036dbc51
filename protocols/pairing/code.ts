/**
 * The code that a person types: `DD-NNNN-NNNN-C`. DD is public and picks the device, the eight
 * digits N are the secret (26.6 bits), C is a check digit after Verhoeff, which finds every single
 * wrong digit and every swap of neighbours, so a typo is found before anything is sent.
 */
import type { Random } from '../env.ts'
import { PairingError } from './errors.ts'

export interface PairingCode {
  /** Two public digits, also in the announcement. */
  readonly discriminator: string
  /** Eight secret digits. */
  readonly digits: string
}

const DIGITS = 11
/** What people put between digits: spaces, and dashes of any length. */
const SEPARATORS = /[\s\p{Pd}]/gu
const MAX_TYPED = 64

/** A fresh code; every code is as likely as any other. */
export function newCode(random: Random): PairingCode {
  return { discriminator: randomDigits(random, 2), digits: randomDigits(random, 8) }
}

/** The code as the candidate shows it, `37-4820-1957-4`. */
export function formatCode({ discriminator, digits }: PairingCode): string {
  const check = verhoeff(`${discriminator}${digits}0`)
  return [discriminator, digits.slice(0, 4), digits.slice(4), INVERSE[check] ?? ''].join('-')
}

/** Read what a person typed. @throws PairingError PAIRING_BAD_CODE */
export function parseCode(typed: string): PairingCode {
  const digits = typed
    .slice(0, MAX_TYPED + 1)
    .normalize('NFKC')
    .replace(SEPARATORS, '')
  if (typed.length > MAX_TYPED || !/^[0-9]+$/.test(digits) || digits.length !== DIGITS) {
    throw new PairingError('PAIRING_BAD_CODE', { detail: `the code has ${DIGITS} digits` })
  }
  if (verhoeff(digits) !== 0) throw new PairingError('PAIRING_BAD_CODE')
  return { discriminator: digits.slice(0, 2), digits: digits.slice(2, 10) }
}

/** Largest multiple of 10^8 in 32 bits: what lies above is drawn again, so no digit is favoured. */
const FAIR_BELOW = 42 * 10 ** 8

function randomDigits(random: Random, count: number): string {
  for (;;) {
    const value = random.bytes(4).reduce((sum, byte) => sum * 256 + byte, 0)
    if (value < FAIR_BELOW) return String(value % 10 ** count).padStart(count, '0')
  }
}

/** Verhoeff's permutation, applied once more for each place from the right. */
const PERMUTATION = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4] as const
/** Inverses in the dihedral group of order ten. */
const INVERSE = [0, 4, 3, 2, 1, 5, 6, 7, 8, 9] as const

/** 0 for digits that end in their own check digit. */
function verhoeff(digits: string): number {
  let sum = 0
  for (let place = 0; place < digits.length; place++) {
    let digit = Number(digits[digits.length - 1 - place])
    for (let turn = 0; turn < place % 8; turn++) digit = PERMUTATION[digit] ?? 0
    sum = dihedral(sum, digit)
  }
  return sum
}

/** The product in the dihedral group D5: 0..4 are rotations, 5..9 reflections. */
function dihedral(a: number, b: number): number {
  if (a < 5) return b < 5 ? (a + b) % 5 : 5 + ((a + b) % 5)
  return b < 5 ? 5 + ((a - b) % 5) : (a - b + 5) % 5
}
