import { describe } from 'vitest';
import { bridgeTests } from './bridge.ts';
import { systems } from './systems.ts';

describe.each(systems.filter(({ name }) => name !== 'wine'))('on $name', bridgeTests);
