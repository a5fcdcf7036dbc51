/**
 * The owner's side of pairing as a service: finds the candidate that a code or a QR code names, runs
 * one try with it, and grants it its role. A code is tried on one candidate only, never on every
 * one in sight: each would get a guess.
 */
import type { Logger } from 'pino'

import { fingerprintOf, peerIdOf } from '../../protocols/identity/index.ts'
import {
  admit,
  chooseCandidate,
  decodeQr,
  mismatchText,
  parseCode,
  PairingError,
  type Admitted,
  type Candidate,
  type PairingRole,
  type PairingSecret,
} from '../../protocols/pairing/index.ts'
import { toHex, type Channel } from '../../protocols/wire/index.ts'
import type { Random } from '../env.ts'
import { NodeError } from '../errors.ts'

export interface WantedGrant {
  /** Public key of the new device, 32 bytes. */
  readonly key: Uint8Array
  readonly role: PairingRole
  readonly name: string
  readonly paired: PairingSecret['kind']
  /** What it may read where its role alone does not say so. */
  readonly caps?: readonly string[] | undefined
  /** When it is out again, UTC milliseconds. */
  readonly expiresAtMs?: number
}

export interface AdmissionDeps {
  /** Our public key, 32 bytes. */
  readonly key: Uint8Array
  readonly random: Random
  readonly log: Logger
  /** Home id, 32 bytes. @throws NodeError NODE_NO_HOME, NODE_DENIED where we may not add devices */
  requireHome(): Uint8Array
  /** Candidates that announce this number, within a bounded time. */
  find(discriminator: string, signal: AbortSignal): Promise<readonly Candidate[]>
  dial<T>(
    candidate: Candidate,
    run: (channel: Channel, peer: Uint8Array) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T>
  readonly grant: (wanted: WantedGrant) => Promise<readonly Uint8Array[]>
}

export interface AdmissionInput {
  /** Exactly one of `code` and `qr`. */
  readonly code?: string | undefined
  readonly qr?: string | undefined
  readonly role: PairingRole
  /** Instead of the name that the device gives itself. */
  readonly name?: string | undefined
  readonly caps?: readonly string[] | undefined
  readonly expiresAtMs?: number
}

export interface Added {
  readonly key: Uint8Array
  readonly name: string
  readonly role: PairingRole
}

export interface Admission {
  /** @throws NodeError NODE_PAIRING, NODE_USAGE, NODE_NOT_FOUND, NODE_NO_HOME, NODE_DENIED */
  add(input: AdmissionInput, signal: AbortSignal): Promise<Added>
}

export function createAdmission(deps: AdmissionDeps): Admission {
  return new AdmissionService(deps)
}

/** Candidates whose failures are counted; the oldest is forgotten first. */
const COUNTED_CANDIDATES = 64

interface Run {
  readonly home: Uint8Array
  readonly secret: PairingSecret
  readonly input: AdmissionInput
}

class AdmissionService implements Admission {
  readonly #deps: AdmissionDeps
  /** Codes in a row that did not match, by candidate. */
  readonly #failures = new Map<string, number>()

  constructor(deps: AdmissionDeps) {
    this.#deps = deps
  }

  async add(input: AdmissionInput, signal: AbortSignal): Promise<Added> {
    const home = this.#deps.requireHome()
    const secret = readSecret(input)
    try {
      const { candidateKey: key, name } = await this.#reach({ home, secret, input }, signal)
      this.#failures.delete(toHex(key))
      this.#deps.log.info({ device: peerIdOf(key), role: input.role }, 'device added')
      return { key, name: input.name ?? name, role: input.role }
    } catch (error) {
      throw forPeople(error)
    }
  }

  /** A QR code says where the device is, for where multicast does not pass; meanwhile, look. */
  async #reach(run: Run, signal: AbortSignal): Promise<Admitted> {
    const { secret } = run
    const named = secret.kind === 'code' ? secret.code : secret.ticket
    const stop = new AbortController()
    const until = AbortSignal.any([signal, stop.signal])
    const seen = this.#deps.find(named.discriminator, until)
    seen.catch(() => undefined)
    try {
      if (secret.kind === 'qr' && secret.ticket.addresses.length > 0) {
        const admitted = await this.#try(secret.ticket, run, signal)
        if (admitted !== undefined) return admitted
      }
      const admitted = await this.#try(chooseCandidate(await seen, secret), run, signal)
      if (admitted !== undefined) return admitted
      throw new NodeError('NODE_NOT_FOUND', 'The new device was found, but it does not answer.', {
        hint: 'Nothing was sent. A firewall may be in the way: allow TCP from the local network on both devices.',
      })
    } finally {
      stop.abort()
    }
  }

  /** Undefined where the candidate was not reached, so that it knows nothing of it. */
  async #try(candidate: Candidate, run: Run, signal: AbortSignal): Promise<Admitted | undefined> {
    const { key: memberKey, random, grant } = this.#deps
    const { home, secret, input } = run
    const terms = termsIn(input)
    let reached = false
    const talk = (channel: Channel, candidateKey: Uint8Array): Promise<Admitted> => {
      reached = true
      return admit(channel, {
        memberKey,
        candidateKey,
        home,
        intent: 'join',
        role: input.role,
        secret,
        random,
        makeGrant: (key, name) =>
          grant({ ...terms, key, name: input.name ?? name, paired: secret.kind }),
      })
    }
    try {
      return await this.#deps.dial(candidate, talk, signal)
    } catch (error) {
      if (!reached && !signal.aborted) {
        this.#deps.log.debug({ device: peerIdOf(candidate.key), err: error }, 'not reached')
        return undefined
      }
      if (!(error instanceof PairingError) || error.code !== 'PAIRING_CODE_MISMATCH') throw error
      throw this.#mismatch(candidate.key, error)
    }
  }

  #mismatch(key: Uint8Array, cause: PairingError): NodeError {
    const name = toHex(key)
    const count = (this.#failures.get(name) ?? 0) + 1
    this.#failures.delete(name)
    this.#failures.set(name, count)
    for (const oldest of this.#failures.keys()) {
      if (this.#failures.size <= COUNTED_CANDIDATES) break
      this.#failures.delete(oldest)
    }
    return new NodeError('NODE_PAIRING', mismatchText(count), {
      cause,
      hint: `Nothing was added. The device found has the fingerprint ${fingerprintOf(key)}.`,
    })
  }
}

function termsIn({
  role,
  caps,
  expiresAtMs,
}: AdmissionInput): Pick<WantedGrant, 'role' | 'caps' | 'expiresAtMs'> {
  const rights = caps === undefined ? { role } : { role, caps }
  return expiresAtMs === undefined ? rights : { ...rights, expiresAtMs }
}

/** @throws NodeError NODE_USAGE */
function readSecret({ code, qr }: AdmissionInput): PairingSecret {
  try {
    if (code !== undefined) return { kind: 'code', code: parseCode(code) }
    return { kind: 'qr', ticket: decodeQr(qr ?? '') }
  } catch (cause) {
    const why = code === undefined ? (cause as Error).message : mistyped(code)
    throw new NodeError('NODE_USAGE', why, {
      cause,
      hint: 'Nothing was sent, and no try was spent.',
    })
  }
}

function mistyped(code: string): string {
  return code.replaceAll(/[^0-9]/g, '').length === 11
    ? 'That is not the code on the device: a digit is wrong.'
    : 'A code has eleven digits, like 12-3456-7890-2.'
}

const HINTS: Partial<Record<string, string>> = {
  PAIRING_CLOSED: 'Open it again there: kith pair. After five wrong codes it shows a new one.',
  PAIRING_NOT_FOUND:
    'Check that "kith pair" is running there and that both devices are on the same network. If multicast does not pass, scan the QR code or give its text with --code-file.',
  PAIRING_AMBIGUOUS: 'Nothing was sent. Close one of them, or scan the QR code of the right one.',
  PAIRING_WRONG_PEER: 'Nothing was sent. Open pairing again on the right device.',
}

function forPeople(error: unknown): unknown {
  if (!(error instanceof PairingError)) return error
  const code = error.code === 'PAIRING_NOT_FOUND' ? 'NODE_NOT_FOUND' : 'NODE_PAIRING'
  const hint = HINTS[error.code]
  return new NodeError(code, error.message, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  })
}
