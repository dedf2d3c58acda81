import { describe, test } from 'vitest';
import { bridgeTests } from './bridge.ts';
import { scenarioTests } from './scenarios.ts';
import { systems, whyNoWine } from './systems.ts';

const wine = systems.filter(({ name }) => name === 'wine');

// A file without a test would count as failed.
if (wine.length === 0) test.skip(`on wine: ${whyNoWine()}`, () => {});

describe.each(wine)('on $name', (system) => {
  scenarioTests(system);
  // One by one: starting Node under Wine takes a processor.
  bridgeTests(system);
});
