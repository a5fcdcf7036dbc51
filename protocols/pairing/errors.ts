import { CodedError, codesByStatus } from '../errors.ts'

/** SPEC.md "Errors". `message` is for the person in front of the device that throws it. */
export const PAIRING_ERRORS = {
  PAIRING_CLOSED: { status: 1, message: 'Pairing is closed on that device.' },
  PAIRING_CODE_MISMATCH: { status: 2, message: 'The code did not match.' },
  PAIRING_REFUSED: { status: 3, message: 'The new device refused to join.' },
  PAIRING_INTERRUPTED: {
    status: 4,
    message: 'The connection was lost after the code was accepted. Open pairing again.',
  },
  PAIRING_NO_ACK: {
    status: 5,
    message: 'The new device did not confirm. If it joined, it appears in the list of devices.',
  },
  PAIRING_WRONG_PEER: { status: 6, message: 'The device found is not the one that was scanned.' },
  PAIRING_AMBIGUOUS: { status: 7, message: 'Two devices show the same number. Scan the QR code.' },
  PAIRING_NOT_FOUND: { status: 8, message: 'No device with that number is open for pairing.' },
  PAIRING_BAD_CODE: {
    status: 9,
    message: 'That is not the code on the device: a digit is wrong. Nothing was sent.',
  },
  PAIRING_BAD_QR: { status: 10, message: 'That is not the QR code of a device to pair.' },
  PAIRING_BAD_SHARE: {
    status: 11,
    message: 'The other side sent what no honest device sends. Someone may be interfering.',
  },
  PAIRING_BAD_MAC: {
    status: 12,
    message: 'A message was changed on its way. Someone may be interfering.',
  },
  PAIRING_TOO_LARGE: { status: 13, message: 'The home has more changes than pairing can carry.' },
  PAIRING_TOO_OFTEN: {
    status: 14,
    message: 'Pairing was opened three times within an hour. Wait before opening it again.',
  },
} as const

export type PairingErrorCode = keyof typeof PAIRING_ERRORS

export interface PairingErrorDetails extends ErrorOptions {
  readonly detail?: string
  /** Tries that the candidate's window has left. Known to the candidate alone. */
  readonly triesLeft?: number
  /** When the same act may succeed, from now. */
  readonly retryInMs?: number
}

/** Pairing was refused, or went no further. */
export class PairingError extends CodedError<PairingErrorCode> {
  readonly triesLeft: number | undefined
  readonly retryInMs: number | undefined

  constructor(code: PairingErrorCode, details: PairingErrorDetails = {}) {
    const { message } = PAIRING_ERRORS[code]
    super(code, details.detail === undefined ? message : `${message} (${details.detail})`, details)
    this.triesLeft = details.triesLeft
    this.retryInMs = details.retryInMs
  }

  /** What crosses the wire, and only once both sides have proved the code. */
  get status(): number {
    return PAIRING_ERRORS[this.code].status
  }
}

const codeOf = codesByStatus(PAIRING_ERRORS)

/** The error that a peer's `status` stands for; PAIRING_REFUSED for an unknown one. */
export function errorOfStatus(status: number): PairingError {
  return new PairingError(codeOf(status) ?? 'PAIRING_REFUSED')
}
