// Loaded before a device's own code: its wall clock is an hour slow.
const HOUR_MS = 3_600_000
const now = Date.now
Date.now = () => now() - HOUR_MS
