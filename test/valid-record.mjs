/** Holds records to the published schema, by a validator that is not ours. */
import { readFileSync } from 'node:fs';
import Ajv from 'ajv/dist/2020.js';

const file = new URL('../protocol/records/schema.json', import.meta.url);
export const schema = JSON.parse(readFileSync(file, 'utf8'));

/** The schema, but with every member that it does not name refused, so that it names all of ours. */
function closed(node) {
  if (Array.isArray(node)) return node.map(closed);
  if (typeof node !== 'object' || node === null) return node;
  const copy = {};
  for (const [key, value] of Object.entries(node)) {
    copy[key] = key === 'allOf' ? value : closed(value);
  }
  if (copy.type === 'object' && copy.properties !== undefined) copy.additionalProperties = false;
  return copy;
}

// A record that keeps the closed one keeps the open one too: it only refuses more.
const { $id: _, ...anonymous } = closed(schema);
const validate = new Ajv.default({ strict: false, allErrors: true }).compile(anonymous);

/** @throws what is wrong with it. */
export function checkValid(record) {
  if (validate(record)) return;
  throw new Error(`${JSON.stringify(validate.errors)} in ${JSON.stringify(record)}`);
}
