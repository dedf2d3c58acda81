/**
 * A record without texts of its host, for other eyes. Every text is replaced by its token but those that
 * this program itself makes from closed lists: what a newer version adds is hidden until it is listed here.
 */

/** Where texts may stay. `*` is any one word of a path. */
const OPEN = new Set(
  `time observed_time level event_name event_id trace_id span_id ring shim_version outcome
  outcome_reason service.name service.version service.instance_id process.arch process.executable.name
  session.id session.attach session.flags.* session.flags_raw error.hresult error.name error.aliases.*
  error.severity error.class inner.method inner.hresult stall.kind stall.method exit.in_callback.*.method
  check.code check.severity done.handle returned.hresult returned.name lost.reason refusal.reason
  export.cause detail.platform detail.arch detail.node detail.journal_sync detail.cause`.split(
    /\s+/,
  ),
);

/** @param token What stands for a text, as in `token.ts`. */
export function redactRecord(
  record: Readonly<Record<string, unknown>>,
  token: (text: string) => string,
): Record<string, unknown> {
  // `state` is for a restart of the daemon that wrote it; `msg` repeats what the fields say.
  const { state: _, msg: __, ...rest } = record;
  const kept = redact(rest, '', token) as Record<string, unknown>;
  return { ...kept, msg: String(kept.event_name) };
}

function redact(value: unknown, path: string, token: (text: string) => string): unknown {
  if (typeof value === 'string') return OPEN.has(path) ? value : token(value);
  if (typeof value !== 'object' || value === null) return value;
  const inner = (word: string): string => (path === '' ? word : `${path}.${word}`);
  if (Array.isArray(value)) return value.map((one) => redact(one, inner('*'), token));
  return Object.fromEntries(
    Object.entries(value).map(([word, one]) => [word, redact(one, inner(word), token)]),
  );
}
