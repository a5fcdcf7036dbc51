/** The OpenAPI 3.1 document of the local API, made from the table of routes. */
import { toJsonSchema } from '@valibot/to-json-schema'
import type * as v from 'valibot'

import { PROBLEM_TYPE } from './problem.ts'
import { API_PREFIX, type Route } from './routes.ts'

type Json = Record<string, unknown>

export const CONTENT_TYPES = {
  json: 'application/json',
  call: 'application/json',
  ndjson: 'application/x-ndjson',
  events: 'text/event-stream',
  bytes: 'application/cbor-seq',
  file: 'application/octet-stream',
} as const

export function openApiDocument(routes: readonly Route[], version: string): Json {
  const paths: Record<string, Json> = {}
  for (const route of routes) {
    const path = `${API_PREFIX}${route.path}`
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) }
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Kith local API', version },
    paths,
    components: { schemas: { Problem: PROBLEM_SCHEMA } },
  }
}

const PROBLEM_SCHEMA = {
  type: 'object',
  required: ['status', 'code', 'title'],
  properties: {
    status: { type: 'integer' },
    code: { type: 'string' },
    title: { type: 'string' },
    detail: { type: 'string' },
  },
} as const

function operation(route: Route): Json {
  const parameters = [...pathParameters(route), ...queryParameters(route)]
  return {
    summary: route.summary,
    operationId: operationId(route),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(route.body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: { 'application/json': { schema: schemaOf(route.body) } },
          },
        }),
    responses: {
      ...success(route),
      default: {
        description: 'Refused or failed',
        content: { [PROBLEM_TYPE]: { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    },
  }
}

function success(route: Route): Json {
  if (route.answer === 'none') return { '204': { description: 'Done' } }
  const content = { [CONTENT_TYPES[route.answer]]: {} }
  const waits = {
    '202': { description: 'The call as it stands: it waits for its device', content },
  }
  return {
    '200': { description: route.summary, content },
    ...(route.answer === 'call' ? waits : {}),
  }
}

function operationId({ method, path }: Route): string {
  const words = path.replaceAll(/[{}]/g, '').split(/[/-]/).filter(Boolean)
  return [
    method.toLowerCase(),
    ...words.map((word) => word[0]?.toUpperCase() + word.slice(1)),
  ].join('')
}

function pathParameters({ path }: Route): readonly Json[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }))
}

function queryParameters({ query }: Route): readonly Json[] {
  if (query === undefined) return []
  const { properties = {}, required = [] } = schemaOf(query) as {
    properties?: Json
    required?: string[]
  }
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    schema,
  }))
}

function schemaOf(schema: v.GenericSchema<unknown, unknown>): Json {
  // Checks that JSON Schema has no word for are enforced by the server all the same.
  const { $schema: _, ...rest } = toJsonSchema(schema, {
    errorMode: 'ignore',
    typeMode: 'input',
  })
  return rest
}
