/** Routes for using devices: descriptions, properties, actions, calls, and what a battery goes to. */
import * as input from './inputs-calls.ts'
import { route, type Route } from './route.ts'

const deviceRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/devices/{ref}/description',
    answer: 'json',
    query: input.description,
    summary: 'What a device lets this one do, as a W3C Thing Description',
    handle: ({ view, ref, query, signal }) => view.description(ref, query, signal),
  }),
  route({
    method: 'GET',
    path: '/devices/{ref}/properties/{name}',
    answer: 'call',
    query: input.readProperty,
    summary: 'The value of a property, in the receipt of the call that read it',
    handle: ({ view, ref, name, query, signal }) => view.readProperty(ref, name, query, signal),
  }),
  route({
    method: 'PUT',
    path: '/devices/{ref}/properties/{name}',
    answer: 'call',
    body: input.writeProperty,
    summary: 'Give a property another value',
    handle: ({ view, ref, name, body: { value, ...options }, signal }) =>
      view.writeProperty({ ref, name }, value, options, signal),
  }),
  route({
    method: 'POST',
    path: '/devices/{ref}/actions/{name}',
    answer: 'call',
    body: input.invokeAction,
    summary: 'Have a device do something',
    handle: ({ view, ref, name, body: { args, ...options }, signal }) =>
      view.invokeAction({ ref, name }, args, options, signal),
  }),
  route({
    method: 'GET',
    path: '/devices/{ref}/changes/{name}',
    answer: 'ndjson',
    summary: 'Changes of a property, or events, one a line, until the client goes',
    handle: ({ view, ref, name, signal }) => view.observe(ref, name, signal),
  }),
  route({
    method: 'GET',
    path: '/devices/{ref}/why',
    answer: 'json',
    query: input.why,
    summary: 'What a device did, who called for it, and why',
    handle: ({ view, ref, query, signal }) => view.why(ref, query, signal),
  }),
]

export const callRoutes: readonly Route[] = [
  ...deviceRoutes,
  route({
    method: 'GET',
    path: '/calls',
    answer: 'json',
    summary: 'Calls of this device: those that wait, and what came of the others',
    handle: ({ view }) => view.calls(),
  }),
  route({
    method: 'GET',
    path: '/calls/{ref}',
    answer: 'call',
    query: input.waitFor,
    summary: 'One call, by its id or the beginning of it',
    handle: ({ view, ref, query, signal }) => view.callById(ref, query, signal),
  }),
  route({
    method: 'DELETE',
    path: '/calls/{ref}',
    answer: 'call',
    summary: 'Take back a call that has not been executed',
    handle: ({ view, ref, signal }) => view.cancelCall(ref, signal),
  }),
  route({
    method: 'GET',
    path: '/power',
    answer: 'json',
    summary: "What this device's battery goes to, and how long it will last",
    handle: ({ view }) => view.power(),
  }),
]
