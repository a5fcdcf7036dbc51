/**
 * The one table of the local API: each row says method, path, what it takes, what it answers and
 * what it asks of the device. The server, the OpenAPI document and its test are made from it.
 */
import * as v from 'valibot'

import * as input from './inputs.ts'
import { route, type Route } from './route.ts'
import { callRoutes } from './routes-calls.ts'
import { updateRoutes } from './routes-update.ts'
import type { StatusView } from './view.ts'

export { API_PREFIX, type DashboardLinks, type Route } from './route.ts'

const homeRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/status',
    answer: 'json',
    summary: 'This device, its home and its role',
    handle: ({ view }): Promise<StatusView> => view.status(),
  }),
  route({
    method: 'POST',
    path: '/recovery-kit',
    answer: 'json',
    socketOnly: true,
    summary: 'A fresh recovery kit, kept nowhere',
    handle: ({ view }) => view.recoveryKit(),
  }),
  route({
    method: 'POST',
    path: '/home',
    answer: 'json',
    body: input.createHome,
    summary: 'Make a home with this device as its first owner',
    handle: ({ view, body }) => view.createHome(body),
  }),
  route({
    method: 'POST',
    path: '/recover',
    answer: 'json',
    body: input.recover,
    socketOnly: true,
    summary: 'Make this device an owner with the recovery kit',
    handle: ({ view, body }) => view.recover(body),
  }),
  route({
    method: 'POST',
    path: '/reset',
    answer: 'none',
    socketOnly: true,
    body: v.strictObject({ confirm: v.literal(true) }),
    summary: 'Forget the home, the readings and the identity of this device',
    handle: ({ view }) => view.reset(),
  }),
]

const pairingRoutes: readonly Route[] = [
  route({
    method: 'POST',
    path: '/pairing',
    answer: 'json',
    body: input.openPairing,
    summary: 'Open a pairing window on this device',
    handle: ({ view, body }) => view.openPairing(body),
  }),
  route({
    method: 'GET',
    path: '/pairing',
    answer: 'json',
    summary: 'Whether a pairing window is open, and the tries left',
    handle: ({ view }) => view.pairingStatus(),
  }),
  route({
    method: 'DELETE',
    path: '/pairing',
    answer: 'none',
    summary: 'Close the pairing window',
    handle: ({ view }) => view.closePairing(),
  }),
  route({
    method: 'POST',
    path: '/devices',
    answer: 'json',
    body: input.addDevice,
    summary: 'Admit the device that shows a code or QR',
    handle: ({ view, body, signal }) => view.addDevice(body, signal),
  }),
]

const deviceRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/devices',
    answer: 'json',
    summary: 'The devices of the home',
    handle: ({ view }) => view.devices(),
  }),
  route({
    method: 'GET',
    path: '/devices/{ref}',
    answer: 'json',
    summary: 'One device, by name, fingerprint or peer id',
    handle: ({ view, ref }) => view.device(ref),
  }),
  route({
    method: 'PATCH',
    path: '/devices/{ref}',
    answer: 'json',
    body: input.changeDevice,
    summary: 'Give a device another name or role',
    handle: ({ view, ref, body: { name, role, ...terms } }) =>
      name === undefined
        ? view.grant(ref, v.parse(input.role, role), terms)
        : view.rename(ref, name),
  }),
  route({
    method: 'POST',
    path: '/devices/{ref}/trust',
    answer: 'json',
    body: v.strictObject({ confirm: v.literal(true) }),
    summary: 'Trust a device again that had signed two histories',
    handle: ({ view, ref }) => view.trust(ref),
  }),
  route({
    method: 'GET',
    path: '/devices/{ref}/gateway-policy',
    answer: 'json',
    summary: 'What owners signed about a gateway',
    handle: ({ view, ref }) => view.gatewayPolicy(ref),
  }),
  route({
    method: 'PUT',
    path: '/devices/{ref}/gateway-policy',
    answer: 'json',
    socketOnly: true,
    body: v.strictObject({
      caps: v.pipe(v.array(v.pipe(v.string(), v.maxLength(64))), v.maxLength(128)),
    }),
    summary: 'Sign what a gateway may have and call',
    handle: ({ view, ref, body }) => view.signGatewayPolicy(ref, body.caps),
  }),
  route({
    method: 'GET',
    path: '/devices/{ref}/removal',
    answer: 'json',
    summary: 'What removing a device would cut',
    handle: ({ view, ref }) => view.removal(ref),
  }),
  route({
    method: 'POST',
    path: '/devices/{ref}/removal',
    answer: 'json',
    body: input.removeDevice,
    summary: 'Remove a device from the home',
    handle: ({ view, ref, body }) => view.remove(ref, body),
  }),
]

const readingRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/sensors',
    answer: 'json',
    summary: 'The sensors of this device',
    handle: ({ view }) => view.sensors(),
  }),
  route({
    method: 'PATCH',
    path: '/sensors/{ref}',
    answer: 'json',
    body: v.strictObject({ on: v.boolean() }),
    summary: 'Switch a sensor on or off',
    handle: ({ view, ref, body }) => view.setSensor(ref, body.on),
  }),
  route({
    method: 'POST',
    path: '/readings',
    answer: 'none',
    body: input.pushed,
    socketOnly: true,
    summary: 'Values from another program, for sensors of type push',
    handle: ({ view, body }) => view.push(body.values),
  }),
  route({
    method: 'GET',
    path: '/readings/live',
    answer: 'ndjson',
    query: input.readings,
    summary: 'Live readings, one a line, until the client goes',
    handle: ({ view, query, signal }) => view.watch(query, signal),
  }),
  route({
    method: 'GET',
    path: '/devices/{ref}/readings',
    answer: 'ndjson',
    query: input.history,
    summary: 'Kept readings and gaps, one a line',
    handle: ({ view, ref, query, signal }) => view.history({ ...query, device: ref }, signal),
  }),
  route({
    method: 'GET',
    path: '/devices/{ref}/readings/unplaced',
    answer: 'ndjson',
    query: input.unplaced,
    summary: 'Kept readings that have no date yet, one a line',
    handle: ({ view, ref, query, signal }) => view.unplaced({ ...query, device: ref }, signal),
  }),
  route({
    method: 'POST',
    path: '/export',
    answer: 'bytes',
    body: input.exportLogs,
    summary: 'Membership and signed packs as a file that anybody can check',
    handle: ({ view, body, signal }) => view.exportLogs(body, signal),
  }),
]

const careRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/doctor',
    answer: 'json',
    summary: 'What works, what does not, and the cure',
    handle: ({ view }) => view.doctor(),
  }),
  route({
    method: 'GET',
    path: '/incidents',
    answer: 'json',
    query: input.incidents,
    summary: 'Signed reports of what went wrong, for owners',
    handle: ({ view, query }) => view.incidents(query),
  }),
  route({
    method: 'GET',
    path: '/config',
    answer: 'json',
    summary: 'The settings in force',
    handle: ({ view }) => view.config(),
  }),
  route({
    method: 'POST',
    path: '/backup',
    answer: 'file',
    socketOnly: true,
    body: v.strictObject({}),
    summary: 'Settings, membership, kept readings and choices as a file for a new device; no key',
    handle: ({ view, signal }) => view.backup(signal),
  }),
  route({
    method: 'GET',
    path: '/events',
    answer: 'events',
    query: input.since,
    summary: 'Events after number `since`, then live ones',
    handle: ({ view, query, signal }) => view.events(query.since, signal),
  }),
  route({
    method: 'POST',
    path: '/dashboard-link',
    answer: 'json',
    socketOnly: true,
    summary: 'A link that opens the dashboard once',
    handle: ({ dashboard }) => dashboard.link(),
  }),
]

export const ROUTES: readonly Route[] = [
  ...homeRoutes,
  ...pairingRoutes,
  ...deviceRoutes,
  ...readingRoutes,
  ...callRoutes,
  ...updateRoutes,
  ...careRoutes,
]
