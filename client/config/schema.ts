/** The JSON Schema of a config file. Ranges that a pattern can't say stand in the descriptions. */
import { ALL_KEYS } from './keys.ts';

interface Node {
  type: string;
  description?: string;
  additionalProperties?: boolean;
  properties?: Record<string, Node>;
  [word: string]: unknown;
}

const branch = (): Required<Pick<Node, 'properties'>> & Node => ({
  type: 'object',
  additionalProperties: false,
  properties: {},
});

export function configSchema(): object {
  const root = branch();
  root.properties.$schema = { type: 'string' };
  for (const { name, what, expected, fallback, schema } of ALL_KEYS) {
    const words = name.split('.');
    let at = root;
    for (const word of words.slice(0, -1)) {
      at.properties[word] ??= branch();
      at = at.properties[word] as typeof root;
    }
    const description = `${what}. Expected: ${expected}. Default: ${fallback}`;
    at.properties[words.at(-1)!] = { ...schema, description };
  }
  root.properties.enforced = {
    type: 'array',
    items: { enum: ALL_KEYS.filter(({ ofDaemon }) => ofDaemon).map(({ name }) => name) },
    description: "In the machine's config alone: keys of it that nothing else overrides",
  };
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: 'urn:mapisync:config:1',
    title: 'mapisync config.json',
    ...root,
  };
}
