/** Bounds of what the member sends once the code is proved. SPEC.md "Messages". */
export const PAYLOAD = {
  /** As many as a home may have, so that no lawful home is too large to pair into. */
  maxOps: 5000,
  maxOpBytes: 4096,
  maxOpsPerFrame: 512,
  /** Bytes of ops at which the sender begins a new frame; the heads of 512 ops fit in the rest. */
  fillBytes: 61_440,
  maxFrameBytes: 65_536,
} as const

/** How long and how often a candidate is open. SPEC.md "State and storage". */
export const WINDOW = {
  /** Runs that a window answers, right or wrong. */
  maxTries: 5,
  openMs: 600_000,
  /** Windows opened within `perMs`. */
  maxWindows: 3,
  perMs: 3_600_000,
} as const
