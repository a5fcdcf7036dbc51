/** A Mesh that is on only in windows. */
import type { Mesh } from './mesh.ts'

export interface WindowOptions {
  /** Dialled at once, at their last known addresses. */
  readonly dial: readonly Uint8Array[]
}

export interface DutyMesh extends Mesh {
  /** Whether a window is open. */
  readonly awake: boolean
}
