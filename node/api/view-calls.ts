/**
 * Using devices: what they let others do, doing it, and who did what and why. Part of view.ts. A
 * call is a signed document and its answer a signed receipt, so what is told here can be proved; a
 * device that sleeps gets its calls when it wakes.
 */

import type { CallState } from '../call-state.ts'

export { isUnderway, type CallState } from '../call-state.ts'

/** Any JSON value. */
export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [name: string]: Json }

export type JsonObject = { readonly [name: string]: Json }

/** A device named for people; the name is empty where it is not known. */
export interface DeviceName {
  /** Peer id. */
  readonly id: string
  readonly name: string
}

export type CallVerb = 'read' | 'write' | 'invoke' | 'cancel'

export type ReceiptStatus =
  | 'done'
  | 'failed'
  | 'denied'
  | 'invalid'
  | 'unknown'
  | 'expired'
  | 'timeout'
  | 'superseded'
  | 'cancelled'
  | 'refused'
  | 'busy'

/** What the called device signed about a call. */
export interface ReceiptView {
  readonly status: ReceiptStatus
  readonly result?: Json
  /** Why, in a sentence. */
  readonly detail?: string
  /** By the called device's clock. */
  readonly at: number
  readonly clock: 'synced' | 'unsynced' | 'unset'
}

/** The reading for which a rule called. */
export interface CauseView {
  readonly rule: string
  /** The device that measured it. */
  readonly device: DeviceName
  readonly sensor: string
  readonly seq: number
  readonly at: number
  readonly value: boolean | number | string
}

/** One call of this device. */
export interface CallView {
  /** 64 hexadecimal digits; a beginning of it names the call too. */
  readonly id: string
  readonly device: DeviceName
  readonly verb: CallVerb
  /** The property's or action's name; empty for `cancel`. */
  readonly name: string
  readonly args?: Json
  readonly state: CallState
  readonly issuedAt: number
  /** After this it is not executed any more. */
  readonly expiresAt: number
  /** For a device that sleeps: when it will have it, if it keeps its times. */
  readonly deliversBy?: number
  /** Members that keep it for a device that sleeps. */
  readonly holders: readonly DeviceName[]
  readonly receipt?: ReceiptView
  readonly cause?: CauseView
}

/** One thing that a device did because it was called. */
export interface WhyView {
  /** The call's id. */
  readonly id: string
  readonly by: DeviceName
  readonly verb: CallVerb
  readonly name: string
  readonly args?: Json
  readonly status: ReceiptStatus
  readonly result?: Json
  readonly detail?: string
  readonly at: number
  readonly cause?: CauseView
  /** Whether the signatures of caller and called device were checked here. */
  readonly verified: boolean
}

export interface PropertyValueView {
  readonly name: string
  readonly value: Json
  readonly at: number
}

/** A device's W3C Thing Description 1.1: what this device may use of it. */
export interface DescriptionView {
  readonly device: DeviceName
  /** When the device told it. */
  readonly at: number
  /** False: the device is not connected, and this is what it told last. */
  readonly live: boolean
  readonly description: JsonObject
  /** The values of its properties, where they were asked for and the device is connected. */
  readonly values?: readonly PropertyValueView[]
}

/** A change of a property, or an event. */
export interface ChangeView {
  readonly name: string
  readonly value: Json
  readonly at: number
}

export interface CallOptions {
  /** How long the call may wait for a device that sleeps: 1 s to 30 days. */
  readonly ttlMs?: number | undefined
  /** For a device that sleeps: wait so long for its receipt before answering. */
  readonly waitMs?: number | undefined
}

export interface WhyQuery {
  /** One property or action; all of them without it. */
  readonly name?: string | undefined
  /** The newest so many. */
  readonly limit?: number | undefined
}

/**
 * Calls that were executed and not done are thrown: NODE_DENIED, NODE_NOT_FOUND (with the nearest
 * names), NODE_USAGE (arguments), NODE_TIMEOUT, else NODE_CONFLICT. For a device that sleeps the
 * answer is the call as it stands, which `callById` follows.
 */
export interface CallsView {
  description(
    ref: string,
    options: { readonly values?: boolean | undefined },
    signal: AbortSignal,
  ): Promise<DescriptionView>
  readProperty(
    ref: string,
    name: string,
    options: CallOptions,
    signal: AbortSignal,
  ): Promise<CallView>
  writeProperty(
    target: { readonly ref: string; readonly name: string },
    value: Json,
    options: CallOptions,
    signal: AbortSignal,
  ): Promise<CallView>
  invokeAction(
    target: { readonly ref: string; readonly name: string },
    args: Json | undefined,
    options: CallOptions,
    signal: AbortSignal,
  ): Promise<CallView>
  /** Changes of a property, or events, until `signal` aborts. */
  observe(ref: string, name: string, signal: AbortSignal): AsyncIterable<ChangeView>
  /** Calls of this device, newest first. */
  calls(): Promise<readonly CallView[]>
  /** With `waitMs`: once it is executed, expired or cancelled, or that time is over. */
  callById(
    id: string,
    options: { readonly waitMs?: number | undefined },
    signal: AbortSignal,
  ): Promise<CallView>
  /** Take back a call that has not been executed. */
  cancelCall(id: string, signal: AbortSignal): Promise<CallView>
  /** What a device did and who called for it, newest first, asked of the device itself. */
  why(ref: string, query: WhyQuery, signal: AbortSignal): Promise<readonly WhyView[]>
}
