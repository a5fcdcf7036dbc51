/** This device and its home: what it is, making a home, getting one back, joining one. Part of view.ts. */
import type { Role } from './view-devices.ts'

export interface StatusView {
  readonly version: string
  readonly device: { readonly id: string; readonly name: string; readonly fingerprint: string }
  /** Null before a home was made or joined. */
  readonly home: { readonly id: string; readonly name: string } | null
  /** This device's own role; null without a home, or after it was removed from it. */
  readonly role: Role | null
  /** Where this device listens for the mesh. */
  readonly addrs: readonly string[]
  /** Connected devices of the home, without this one. */
  readonly peers: number
  readonly startedAt: number
  readonly uptimeMs: number
}

/** A fresh kit, kept nowhere: the caller shows it to a person and forgets it. */
export interface RecoveryKitView {
  /** The kit's text in groups, in order. */
  readonly groups: readonly string[]
  /** The same kit as text for a QR code. */
  readonly qr: string
  /** Ed25519 public key, 64 hexadecimal digits: all that the home keeps of it. */
  readonly publicKey: string
}

export interface CreateHomeInput {
  /** The home's name. */
  readonly name: string
  /** A new name for this device. */
  readonly deviceName?: string | undefined
  /** `publicKey` of the kit that the person has put away. */
  readonly recoveryKey: string
}

export interface RecoverInput {
  /** The kit as typed (groups) or scanned (QR text). */
  readonly kit: string
  /** References to devices to put out with the kit's power: the stolen ones, owners or not. */
  readonly remove?: readonly string[] | undefined
  /** Undo what those devices did to the home from this time on. */
  readonly since?: number | undefined
}

/** This device's place in a home. */
export interface MembershipView {
  readonly home: string
  readonly name: string
  /** This device's peer id. */
  readonly device: string
}

export interface PairingWindowView {
  /** `DD-NNNN-NNNN-C`. */
  readonly code: string
  /** Text for a QR code. */
  readonly qr: string
  readonly expiresAt: number
  /** Number of the newest event when the window opened: `events(since)` misses nothing about it. */
  readonly since: number
}

export interface PairingStatusView {
  readonly open: boolean
  readonly expiresAt: number | null
  readonly triesLeft: number
}

export interface HomeView {
  status(): Promise<StatusView>
  /** A fresh kit. Stores nothing. */
  recoveryKit(): Promise<RecoveryKitView>
  createHome(input: CreateHomeInput): Promise<MembershipView>
  /** Make this device an owner with the recovery kit. */
  recover(input: RecoverInput): Promise<MembershipView>
  /** Forget the home and everything measured, and make a new identity at the next start. */
  reset(): Promise<void>
  /** Open a pairing window on this device, which has no home yet. */
  openPairing(input: { readonly minutes?: number | undefined }): Promise<PairingWindowView>
  pairingStatus(): Promise<PairingStatusView>
  closePairing(): Promise<void>
}
