/**
 * What the local API asks of the device: one method per thing a person can see or do. node/node.ts
 * implements it; api/routes.ts serves it over HTTP; the command line and the dashboard are clients
 * of those routes and know the device by these shapes alone. Keys and home ids are text here
 * (peer id, base32); times are milliseconds since the Unix epoch. A field is never renamed or
 * removed without a new major version of the API. Every method throws NodeError or a protocol's
 * CodedError.
 */
import type { CallsView } from './view-calls.ts'
import type { CareView } from './view-care.ts'
import type { DevicesView } from './view-devices.ts'
import type { HomeView } from './view-home.ts'
import type { PowerView } from './view-power.ts'
import type { ReadingsView } from './view-readings.ts'
import type { UpdateView } from './view-update.ts'

export * from './view-calls.ts'
export type * from './view-care.ts'
export * from './view-devices.ts'
export type * from './view-home.ts'
export type * from './view-power.ts'
export type * from './view-readings.ts'
export type * from './view-update.ts'

/** `ref` is a name, a fingerprint or a peer id, or any unambiguous beginning: see device-ref.ts. */
export interface NodeView
  extends HomeView, DevicesView, ReadingsView, CallsView, PowerView, CareView, UpdateView {}
