import { describe } from 'vitest';
import { bridgeTests } from './bridge.ts';
import { scenarioTests } from './scenarios.ts';
import { systems } from './systems.ts';

describe.each(systems.filter(({ name }) => name === 'wine'))('on $name', (system) => {
  scenarioTests(system);
  // One by one: starting Node under Wine takes a processor.
  bridgeTests(system);
});
