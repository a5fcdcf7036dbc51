/**
 * Tables of the settings file that have names, like `[sensor.NAME]`: one is held against the schema
 * of its kind, and every mistake is told with its key. Which kinds there are is said elsewhere.
 */
import * as v from 'valibot'

import { NAME } from './config-fields.ts'
import { nearest } from './nearest.ts'

export interface TableProblem {
  /** In the table, like `then.0.device`; empty where the whole table is wrong. */
  readonly key: string
  readonly why: string
}

export type CheckedTable<T> =
  | { readonly ok: true; readonly table: T }
  | { readonly ok: false; readonly problems: readonly TableProblem[] }

type Entries = Readonly<Record<string, v.GenericSchema>>
/** A schema that knows its keys: an object, or one with checks after it. */
export type TableSchema = v.GenericSchema & { readonly entries: Entries }

export interface TableGroup {
  /** As in `[sensor.NAME]`. */
  readonly section: string
  /** What one is called, "a sensor". */
  readonly one: string
}

/** A table that is not one of the group, for whatever reason. */
export function refused<T>(key: string, why: string): CheckedTable<T> {
  return { ok: false, problems: [{ key, why }] }
}

export function isTable(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
  )
}

/** What is wrong with a table before its keys are looked at; undefined for nothing. */
export function wrongTable(
  { section, one }: TableGroup,
  name: string,
  table: unknown,
): CheckedTable<never> | undefined {
  if (!NAME.test(name)) return refused('', `${one}’s name has letters, digits, ., _ and - alone`)
  if (!isTable(table)) return refused('', `must be a table, written [${section}.${name}]`)
  return undefined
}

/** The keys of `table` against `schema`. */
export function checkKeys<S extends TableSchema>(
  { section }: TableGroup,
  schema: S,
  name: string,
  table: Record<string, unknown>,
): CheckedTable<v.InferOutput<S> & { readonly name: string }> {
  const known = Object.keys(schema.entries)
  const unknown = Object.keys(table).filter((key) => !known.includes(key))
  const result = v.safeParse(schema, table)
  const problems = [
    ...unknown.map((key) => unknownKey(`${section}."${name}.${key}"`, key, table[key], known)),
    ...(result.issues ?? []).map(problemOf),
  ]
  if (problems.length > 0 || !result.success) return { ok: false, problems }
  const named: unknown = { ...(result.output as object), name }
  return { ok: true, table: named as v.InferOutput<S> & { readonly name: string } }
}

/** A table whose `type` chooses its schema. */
export function checkKind<S extends Readonly<Record<string, TableSchema>>>(
  group: TableGroup,
  schemas: S,
  name: string,
  table: unknown,
): CheckedTable<{ [T in keyof S]: v.InferOutput<S[T]> & { readonly name: string } }[keyof S]> {
  const wrong = wrongTable(group, name, table)
  if (wrong !== undefined) return wrong
  const tables = table as Record<string, unknown>
  const type = tables['type']
  const schema =
    typeof type === 'string' && Object.hasOwn(schemas, type) ? schemas[type] : undefined
  if (schema === undefined) {
    return refused('type', `must be one of ${Object.keys(schemas).join(', ')}`)
  }
  return checkKeys(group, schema as S[keyof S], name, tables)
}

/** A table inside a table, in which a key that it does not have is a mistake too. */
export function inner<const E extends v.ObjectEntries>(entries: E, like: string) {
  return v.strictObject(entries, (issue) => {
    if (issue.expected !== 'never') return `must be a table, like ${like}`
    return noSuchKey(String(issue.path?.at(-1)?.key), Object.keys(entries))
  })
}

function unknownKey(
  whole: string,
  key: string,
  value: unknown,
  known: readonly string[],
): TableProblem {
  if (known.includes(`${key}_file`)) {
    return { key, why: `secrets and certificates are in files of their own: write ${key}_file` }
  }
  if (!isTable(value)) return { key, why: noSuchKey(key, known) }
  return { key, why: `a name with dots is written in quotes: [${whole}]` }
}

function noSuchKey(key: string, known: readonly string[]): string {
  const near = nearest(key, known)
  return near === undefined
    ? `there is no such key; there are ${known.join(', ')}`
    : `there is no such key; did you mean ${near}?`
}

function problemOf(issue: v.BaseIssue<unknown>): TableProblem {
  const key = (issue.path ?? []).map((part) => String(part.key)).join('.')
  // Only where nothing was written: what was written and is no duration is not missing.
  const written = issue.path?.at(-1)?.value !== undefined
  const missing = issue.received === 'undefined' && issue.kind === 'schema' && !written
  return { key, why: missing ? 'is missing' : issue.message }
}
