/** Telemetry of one device. README of node/ has the map. */
export type { ExtractTaker } from './extract-follower.ts'
export type { Guests } from './guests.ts'
export type { TelemetryMember } from './intake.ts'
export type { LiveReading, TelemetryEvents } from './live.ts'
export { startTelemetry } from './telemetry.ts'
export type { Telemetry, TelemetryDeps } from './telemetry.ts'
