/** Routes for updates: channels, releases, what owners decided about them, and who has them. */
import * as v from 'valibot'

import * as input from './inputs-update.ts'
import { route, type Route } from './route.ts'

/** A whole list of releases and indexes, as base64. */
const MAX_SIGNED_BYTES = 24 * 1024 * 1024

export const updateRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/updates',
    answer: 'json',
    summary: 'Channels, releases, what owners decided, and how far each device is',
    handle: ({ view }) => view.updates(),
  }),
  route({
    method: 'POST',
    path: '/updates/channels',
    answer: 'json',
    body: input.channel,
    socketOnly: true,
    maxBodyBytes: MAX_SIGNED_BYTES,
    summary: 'Trust a channel by its first root',
    handle: ({ view, body }) => view.trustChannel(body),
  }),
  route({
    method: 'DELETE',
    path: '/updates/channels/{name}',
    answer: 'none',
    socketOnly: true,
    summary: 'Trust a channel no more',
    handle: ({ view, name }) => view.distrustChannel(name),
  }),
  route({
    method: 'POST',
    path: '/updates/channels/{name}/signed',
    answer: 'json',
    body: input.signed,
    socketOnly: true,
    maxBodyBytes: MAX_SIGNED_BYTES,
    summary: 'A signed list of releases, or a signed root, of a channel that this device keeps',
    handle: ({ view, name, body }) => view.acceptSigned(name, body),
  }),
  route({
    method: 'POST',
    path: '/updates/channels/{name}/export',
    answer: 'json',
    body: input.transfer,
    socketOnly: true,
    summary: 'Write a channel into a folder of this machine',
    handle: ({ view, name, body }) => view.exportChannel(name, body.folder),
  }),
  route({
    method: 'POST',
    path: '/updates/channels/{name}/import',
    answer: 'json',
    body: input.transfer,
    socketOnly: true,
    summary: 'Verify a channel in a folder of this machine, and take what is new',
    handle: ({ view, name, body }) => view.importChannel(name, body.folder),
  }),
  route({
    method: 'PATCH',
    path: '/updates/rollout',
    answer: 'json',
    body: input.rollout,
    summary: 'Change who gets releases, and when',
    handle: ({ view, body }) => view.changeRollout(body),
  }),
  route({
    method: 'POST',
    path: '/updates/installed/{name}/rollback',
    answer: 'json',
    body: v.strictObject({ confirm: v.literal(true) }),
    summary: 'On this device: go back to the version before',
    handle: ({ view, name }) => view.rollbackUpdate(name),
  }),
  route({
    method: 'POST',
    path: '/updates/installed/{name}/forgive',
    answer: 'none',
    body: input.forgive,
    summary: 'On this device: let a build be tried again that was ill here',
    handle: ({ view, name, body }) => view.forgiveUpdate(name, body.build),
  }),
  route({
    method: 'GET',
    path: '/updates/releases/{name}/fetch',
    answer: 'ndjson',
    query: input.fetchQuery,
    socketOnly: true,
    summary: 'Bring a release into the store of this device',
    handle: ({ view, name, query, signal }) => view.fetchRelease(name, query, signal),
  }),
]
