/** Telemetry of one device. README of node/ has the map. */
export type { TelemetryMesh } from './follower.ts'
export type { TelemetryMember } from './intake.ts'
export type { LiveFilter, LiveReading, TelemetryEvents } from './live.ts'
export type { SensorState } from './sampler.ts'
export { startTelemetry } from './telemetry.ts'
export type { Telemetry, TelemetryDeps, TelemetrySettings } from './telemetry.ts'
