/**
 * What a protocol may ask of the world. The real ones live in node/env.ts, virtual ones in
 * test/helpers/. Nothing under protocols/ reads a clock, a timer or a random source any other way.
 */

export interface Clock {
  /** Milliseconds since the Unix epoch. May jump; for dates and expiry only. */
  now(): number
  /** Milliseconds from an arbitrary start. Never goes back; for durations. */
  monotonic(): number
  /** Resolves after `ms`; rejects with `signal.reason` where that aborts first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /**
   * Call `then` once after `ms` unless the returned function is called first. Does not keep the
   * process alive.
   */
  timer(ms: number, then: () => void): () => void
}

export interface Random {
  /** `length` fresh bytes from a cryptographic source. */
  bytes(length: number): Uint8Array
}
