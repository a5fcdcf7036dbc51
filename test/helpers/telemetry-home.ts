import pino from 'pino'

import {
  startTelemetry,
  type Telemetry,
  type TelemetryDeps,
} from '../../node/services/telemetry/index.ts'
import { openDatabase } from '../../node/storage/db.ts'
import { migration, openPackStore, type PackStore } from '../../node/storage/packs.ts'
import type { Clock } from '../../protocols/env.ts'
import type { Signer } from '../../protocols/identity/index.ts'
import { MemoryNetwork } from './memory-mesh.ts'
import { CONTEXT, HOME } from './telemetry.ts'
import { timeOf } from './time.ts'

export function memoryStore(): PackStore {
  return openPackStore(openDatabase(':memory:', [migration]))
}

/**
 * The service of one device: alone in its home, with nothing that it measures, and with trust in
 * everybody, but for what the test changes.
 */
export function startLogs(
  signer: Signer,
  clock: Clock,
  changes: Partial<TelemetryDeps> = {},
): Promise<Telemetry> {
  const deps: TelemetryDeps = {
    mesh: changes.mesh ?? new MemoryNetwork(clock).join(signer.key),
    store: changes.store ?? memoryStore(),
    signer,
    verifier: CONTEXT.verifier,
    home: HOME,
    members: [{ key: signer.key, publishes: true }],
    follows: () => true,
    mayRead: () => true,
    epoch: () => 0,
    time: timeOf(clock),
    sources: [],
    settings: { enabled: [], intervalMs: 1000, retentionMs: 1e12, maxBytes: 1e9 },
    clock,
    log: pino({ level: 'silent' }),
  }
  return startTelemetry({ ...deps, ...changes }, new AbortController().signal)
}

/** Devices of one home that run the service over a network in memory. */
export function telemetryHome(clock: Clock, common: Partial<TelemetryDeps> = {}) {
  const network = new MemoryNetwork(clock)
  const parts: Telemetry[] = []
  return {
    network,
    async start(signer: Signer, changes: Partial<TelemetryDeps> = {}): Promise<Telemetry> {
      const mesh = network.join(signer.key)
      const part = await startLogs(signer, clock, { mesh, ...common, ...changes })
      parts.push(part)
      return part
    },
    async [Symbol.asyncDispose]() {
      for (const part of parts) await part[Symbol.asyncDispose]()
    },
  }
}
