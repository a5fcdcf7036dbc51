/** What a device has whether or not it is in a home, for the parts that are built on it. */
import type { DatabaseSync } from 'node:sqlite'

import type { LateVerifier, Signer } from '../../protocols/identity/index.ts'
import type { Config } from '../config.ts'
import type { Clock, Random } from '../env.ts'
import type { Journal } from '../journal.ts'
import type { Logger, Secret } from '../log.ts'
import type { RunMarker } from '../run-marker.ts'
import type { IncidentStore } from '../storage/incidents.ts'
import type { OpStore } from '../storage/ops.ts'
import type { PackStore } from '../storage/packs.ts'
import type { PeerStore } from '../storage/peers.ts'
import type { SensorChoices } from '../storage/sensor-choices.ts'
import type { WakeStore } from '../storage/wakes.ts'

/** A launcher runs this program from a folder of versions. */
export interface Launched {
  /** Folder that the launcher was told. */
  readonly root: string
  /** End in a way that it starts the program again. */
  readonly again: () => void
}

export interface DeviceBase {
  readonly config: Config
  readonly version: string
  readonly seed: Secret<Uint8Array>
  readonly signer: Signer
  readonly verifier: LateVerifier
  readonly db: DatabaseSync
  readonly ops: OpStore
  readonly packs: PackStore
  readonly peers: PeerStore
  readonly sensorChoices: SensorChoices
  readonly incidents: IncidentStore
  readonly wakes: WakeStore
  readonly launched?: Launched | undefined
  readonly marker: RunMarker
  readonly journal: Journal
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
}
