/** The tables of the outbox. */
import { GAP_TABLE } from './gaps.ts'

export const MIGRATIONS = [
  {
    version: 1,
    sql: `
      CREATE TABLE item (
        n INTEGER PRIMARY KEY AUTOINCREMENT,
        sink TEXT NOT NULL,
        device TEXT NOT NULL,
        seq INTEGER NOT NULL,
        queued_ms INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0,
        body TEXT NOT NULL,
        pack BLOB
      );
      CREATE INDEX item_queue ON item (sink, n, device);
      CREATE TABLE taken (device TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
${GAP_TABLE}
      CREATE TABLE aside (
        n INTEGER PRIMARY KEY,
        sink TEXT NOT NULL,
        at_ms INTEGER NOT NULL,
        why TEXT NOT NULL,
        body TEXT NOT NULL,
        pack BLOB
      );
      CREATE TABLE counter (
        sink TEXT PRIMARY KEY,
        sent INTEGER NOT NULL DEFAULT 0,
        dropped INTEGER NOT NULL DEFAULT 0,
        aside INTEGER NOT NULL DEFAULT 0
      ) WITHOUT ROWID;`,
  },
] as const
